/* aarch64/virt: a machine that exists nowhere but in emulators, and that Linux knows by its device tree alone.
 * Its addresses and interrupts are those that QEMU's board of this name shows to guests. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/list.h"
#include "dev/irq/gicv3.h"
#include "dev/pci/pci.h"

#define GIB (1ull << 30)
#define MIB (1ull << 20)

/* Interrupts as the GIC's binding writes them: the kind, the number, the trigger. */
enum { GIC_SPI, GIC_PPI };
enum { EDGE = 1, LEVEL = 4, PPI_CPUS_SHIFT = 8 };
#define SPI(n, trigger) .wired = true, .irq = {GIC_SPI, n, trigger}, .input = n

enum { GIC_IRQS = 288, GIC_SPIS = GIC_IRQS - 32, MSI_FIRST = 48, MSI_COUNT = 64 };

/* Variants. */
enum { WITH_GICV2 = 1, WITH_GICV3 = 2, WITH_ITS = 4, WITH_HIGHMEM = 8 /* addresses above 4 GiB */ };
enum { GICV2_CPUS = 8 };

/* The CPU's own interrupts. */
enum { PPI_PMU = 23, PPI_TIMER_HYP = 26, PPI_TIMER_VIRT = 27, PPI_TIMER_SECURE = 29, PPI_TIMER_PHYS = 30 };

enum { PCI_INTX = 3, PCI_PINS = 4 };
static const struct pci_map pci_map = {
    .ecam = 0x4010000000, .buses = 256, .ports = 0x3eff0000, .mmio = 0x10000000, .mmio_size = 0x2eff0000,
    .high = 0x8000000000, .high_size = 0x8000000000,
}, low_pci_map = {
    .ecam = 0x3f000000, .buses = 16, .ports = 0x3eff0000, .mmio = 0x10000000, .mmio_size = 0x2eff0000,
};

/* Where messages go, by what is there. */
enum { V2M_AT = 0x08020000, V2M_SIZE = 0x1000, ITS_AT = 0x08080000, ITS_MESSAGES_AT = 0x08090000, ITS_MESSAGES_SIZE = 0x10000 };
enum { FLASH_SIZE = 64 << 20, FLASH_WIDTH = 4 };

static const struct board_part parts[] = {
    {"gic", "arm_gic", {0x08000000, 0x08010000}, .props = "num-irq=288", .variants = WITH_GICV2},
    {"gic", "arm-gicv3", {0x08000000, 0x080a0000}, .props = "num-irq=288", .variants = WITH_GICV3},
    {"v2m", "arm-gicv2m", {V2M_AT}, .inside = "intc@8000000", .props = "base-spi=80,num-spi=64", .variants = WITH_GICV2},
    {"its", "arm-gicv3-its", {ITS_AT, ITS_MESSAGES_AT}, .inside = "intc@8000000", .variants = WITH_GICV3 | WITH_ITS},
    {"uart0", "pl011", {0x09000000}, SPI(1, LEVEL), .serial = 1},
    {"rtc", "pl031", {0x09010000}, SPI(2, LEVEL)},
    {"flash", "cfi.pflash01", {0}, .count = BOARD_FLASHES, .step = FLASH_SIZE},
    {"fw_cfg", "fw_cfg_mem", {0x09020000, 0x09020008, 0x09020010}},
    {"gpio", "pl061", {0x09030000}, SPI(7, LEVEL)},
    {"pcie.0", "gpex-pcihost", .placed_by_map = true},
    {"power", "gpio-key"},
    {"virtio-mmio", "virtio-mmio", {0x0a000000}, SPI(16, EDGE), .count = 32, .step = 0x200},
    {NULL},
};

static const struct board_wire wires[] = {
    {"power", 0, "gpio", 3, 1},
    {"v2m", 0, "gic", MSI_FIRST, MSI_COUNT},
    {"pcie.0", 0, "gic", PCI_INTX, PCI_PINS},
    {NULL},
};

static bool virt_part(const struct board_setup *s, struct dev *d, struct err *e)
{
    for (unsigned i = 0; i < BOARD_FLASHES; i++) {
        if (!strncmp(d->name, "flash", 5) && d->name[5] == (char)('0' + i))
            return dev_set_link(d, "drive", DEV_PROP_BLOCK, s->flash[i], e);
    }
    if (!strcmp(d->name, "its"))
        return dev_set_link(d, "parent-gicv3", DEV_PROP_DEV, board_dev(s, "gic"), e);
    if (strcmp(d->name, "gic"))
        return true;
    if (s->variants & WITH_GICV2 && s->cpus > GICV2_CPUS)
        return err_set(e, EINVAL, "Number of SMP CPUs requested (%u) exceeds max CPUs supported by machine 'mach-virt' (%u)",
                       s->cpus, GICV2_CPUS);
    return dev_set_number(d, "num-cpu", s->cpus, e);
}

static const struct pci_map *pci_of(const struct board_setup *s)
{
    return s->variants & WITH_HIGHMEM ? &pci_map : &low_pci_map;
}

static void virt_map(const struct board_setup *s, struct mem_range *root)
{
    pci_host_show(board_dev(s, "pcie.0"), root, pci_of(s));
}

static void virt_connect(const struct board_setup *s)
{
    static const struct {
        enum cpu_output out;
        unsigned ppi;
    } timers[] = {
        {CPU_TIMER_PHYSICAL, PPI_TIMER_PHYS}, {CPU_TIMER_VIRTUAL, PPI_TIMER_VIRT},
        {CPU_TIMER_HYPERVISOR, PPI_TIMER_HYP}, {CPU_TIMER_SECURE, PPI_TIMER_SECURE}, {CPU_PERFORMANCE, PPI_PMU},
    };
    struct dev *gic = board_dev(s, "gic"), *v2m = board_dev(s, "v2m"), *its = board_dev(s, "its");
    if (v2m)
        pci_host_messages(board_dev(s, "pcie.0"), v2m, V2M_AT, V2M_SIZE);
    else if (its)
        pci_host_messages(board_dev(s, "pcie.0"), its, ITS_MESSAGES_AT, ITS_MESSAGES_SIZE);
    for (unsigned i = 0; s->cpu && i < s->cpus; i++) {
        dev_connect(gic, i, cpu_port_wire(s->cpu[i], CPU_LINE_IRQ));
        dev_connect(gic, s->cpus + i, cpu_port_wire(s->cpu[i], CPU_LINE_FIQ));
        if (s->variants & WITH_GICV3)
            s->cpu[i]->registers = gicv3_registers(gic);
        for (unsigned t = 0; t < ARRAY_LEN(timers); t++)
            s->cpu[i]->output[timers[t].out] = dev_input(gic, GIC_SPIS + 32 * i + timers[t].ppi);
    }
}

/* ---- the device tree ---- */

static void describe_cpus(const struct board_setup *s)
{
    char compatible[64];
    size_t len = strcspn(s->cpu_model, ",");
    bool max = len == 3 && !strncmp(s->cpu_model, "max", len); /* which is an A57 with more */
    snprintf(compatible, sizeof(compatible), "arm,%.*s", (int)(max ? 10 : len), max ? "cortex-a57" : s->cpu_model);
    struct fw_node *cpus = fw_child(s->tree, "cpus");
    fw_cell(cpus, "#address-cells", 1);
    fw_cell(cpus, "#size-cells", 0);
    struct fw_node *cluster = fw_child(fw_child(fw_child(cpus, "cpu-map"), "socket0"), "cluster0");
    for (unsigned i = 0; i < s->cpus; i++) {
        struct fw_node *n = fw_child(cpus, "cpu@%u", i);
        fw_string(n, "device_type", "cpu");
        fw_string(n, "compatible", compatible);
        if (s->cpus > 1)
            fw_string(n, "enable-method", "psci");
        fw_cell(n, "reg", i);
        fw_cell(fw_child(cluster, "core%u", i), "cpu", fw_phandle(n));
    }
}

static void describe_psci(struct fw_node *root)
{
    struct fw_node *n = fw_child(root, "psci");
    fw_strings(n, "compatible", "arm,psci-1.0\0arm,psci-0.2\0arm,psci");
    fw_string(n, "method", "hvc");
    fw_cell(n, "cpu_suspend", 0xc4000001);
    fw_cell(n, "cpu_off", 0x84000002);
    fw_cell(n, "cpu_on", 0xc4000003);
    fw_cell(n, "migrate", 0xc4000005);
}

/* A PPI: its trigger, and for GICv2 the CPUs that have it. */
static u32 ppi_flags(const struct board_setup *s)
{
    u32 cpus = s->variants & WITH_GICV2 ? (1u << s->cpus) - 1 : 0;
    return cpus << PPI_CPUS_SHIFT | LEVEL;
}

#define PPI_CELLS(s, n) GIC_PPI, (n) - 16, ppi_flags(s)

static void describe_timers(const struct board_setup *s)
{
    struct fw_node *n = fw_child(s->tree, "timer");
    fw_strings(n, "compatible", "arm,armv8-timer\0arm,armv7-timer");
    fw_empty(n, "always-on");
    FW_CELLS(n, "interrupts", PPI_CELLS(s, PPI_TIMER_SECURE), PPI_CELLS(s, PPI_TIMER_PHYS),
             PPI_CELLS(s, PPI_TIMER_VIRT), PPI_CELLS(s, PPI_TIMER_HYP));
    n = fw_child(s->tree, "pmu");
    fw_string(n, "compatible", "arm,armv8-pmuv3");
    FW_CELLS(n, "interrupts", PPI_CELLS(s, PPI_PMU));
}

static void describe_chosen(const struct board_setup *s)
{
    struct fw_node *n = fw_child(s->tree, "chosen");
    const u32 *r = (const u32 *)s->random;
    fw_string(n, "stdout-path", s->board->console);
    fw_cells(n, "kaslr-seed", r, 2);
    fw_cells(n, "rng-seed", r + 2, 8);
}

static void describe_power_key(struct fw_node *root)
{
    struct fw_node *keys = fw_child(root, "gpio-keys"), *off = fw_child(keys, "poweroff");
    fw_string(keys, "compatible", "gpio-keys");
    fw_string(off, "label", "GPIO Key Poweroff");
    fw_cell(off, "linux,code", 116); /* KEY_POWER */
    FW_CELLS(off, "gpios", fw_phandle(fw_child_at(root, "pl061", 0x9030000)), 3, 0);
}

/* A function's interrupt pins: each slot begins with another of the four lines. */
static void describe_intx(struct fw_node *n, u32 controller)
{
    u32 map[PCI_PINS * PCI_PINS][10], *entry = map[0];
    for (u32 slot = 0; slot < PCI_PINS; slot++) {
        for (u32 pin = 0; pin < PCI_PINS; pin++, entry += ARRAY_LEN(map[0])) {
            const u32 cells[] = {slot << 11, 0, 0, pin + 1, controller, 0, 0, GIC_SPI, PCI_INTX + (slot + pin) % PCI_PINS, LEVEL};
            memcpy(entry, cells, sizeof(cells));
        }
    }
    fw_cells(n, "interrupt-map", map[0], sizeof(map) / sizeof(u32));
    FW_CELLS(n, "interrupt-map-mask", (PCI_PINS - 1) << 11, 0, 0, 7);
}

static void describe_pci(const struct board_setup *s)
{
    struct fw_node *n = pci_host_describe(s->tree, pci_of(s)), *gic = fw_child(s->tree, "intc@8000000");
    describe_intx(n, fw_phandle(gic));
    if (board_dev(s, "v2m"))
        FW_CELLS(n, "msi-map", 0, fw_phandle(fw_child_at(gic, "v2m", V2M_AT)), 0, 0x10000);
    else if (board_dev(s, "its"))
        FW_CELLS(n, "msi-map", 0, fw_phandle(fw_child_at(gic, "its", ITS_AT)), 0, 0x10000);
}

static void describe_flash(struct fw_node *root)
{
    struct fw_node *n = fw_child_at(root, "flash", 0);
    fw_cell(n, "bank-width", FLASH_WIDTH);
    fw_reg(n, "reg", (const u64[]){0, FLASH_SIZE, FLASH_SIZE, FLASH_SIZE}, BOARD_FLASHES);
    fw_string(n, "compatible", "cfi-flash");
}

static void virt_describe(const struct board_setup *s)
{
    struct fw_node *root = s->tree;
    fw_string(root, "model", "linux,dummy-virt");
    fw_string(root, "compatible", "linux,dummy-virt");
    fw_cell(root, "#address-cells", 2);
    fw_cell(root, "#size-cells", 2);
    fw_cell(root, "interrupt-parent", fw_phandle(fw_child(root, "intc@8000000")));
    describe_chosen(s);
    struct fw_node *clock = fw_child(root, "apb-pclk");
    fw_string(clock, "compatible", "fixed-clock");
    fw_cell(clock, "#clock-cells", 0);
    fw_cell(clock, "clock-frequency", 24000000);
    fw_string(clock, "clock-output-names", "clk24mhz");
    describe_timers(s);
    describe_cpus(s);
    describe_psci(root);
    struct fw_node *memory = fw_child_at(root, "memory", s->board->ram_at);
    fw_string(memory, "device_type", "memory");
    fw_reg(memory, "reg", (const u64[]){s->board->ram_at, s->ram}, 1);
    describe_power_key(root);
    describe_pci(s);
    describe_flash(root);
}

/* ---- options ---- */

static bool set_gic_version(struct board_setup *s, const char *value, struct err *e)
{
    bool two = !strcmp(value, "2");
    if (!strcmp(value, "host"))
        return err_set(e, EINVAL, "gic-version=host requires KVM");
    if (!strcmp(value, "4"))
        return err_set(e, EINVAL, "gic-version=4 requires virtualization enabled");
    if (!two && strcmp(value, "3") && strcmp(value, "max"))
        return err_set(e, EINVAL, "Invalid gic-version value; Valid values are 3, 2, host, max.");
    s->variants = (s->variants & ~(u32)(WITH_GICV2 | WITH_GICV3)) | (two ? WITH_GICV2 : WITH_GICV3);
    return true;
}

static bool set_variant(struct board_setup *s, u32 variant, const char *value, struct err *e)
{
    bool on = !strcmp(value, "on");
    if (!on && strcmp(value, "off"))
        return err_set(e, EINVAL, "it can be on or off");
    s->variants = on ? s->variants | variant : s->variants & ~variant;
    return true;
}

static bool set_its(struct board_setup *s, const char *value, struct err *e)
{
    return set_variant(s, WITH_ITS, value, e);
}

static bool set_highmem(struct board_setup *s, const char *value, struct err *e)
{
    const u64 most = 4 * GIB - s->board->ram_at;
    if (!set_variant(s, WITH_HIGHMEM, value, e))
        return false;
    return s->variants & WITH_HIGHMEM || s->ram <= most ||
           err_set(e, EINVAL, "Addressing limited to 32 bits, but memory exceeds it by %llu bytes",
                   (unsigned long long)(s->ram - most));
}

static bool set_off(struct board_setup *s, const char *value, struct err *e)
{
    return !strcmp(value, "off") || err_set(e, EINVAL, "it is not supported, and can only be off");
}

static bool set_acpi(struct board_setup *s, const char *value, struct err *e)
{
    return !strcmp(value, "off") || !strcmp(value, "auto") || err_set(e, EINVAL, "there are no tables of ACPI: it can be off or auto");
}

static bool set_iommu(struct board_setup *s, const char *value, struct err *e)
{
    return !strcmp(value, "none") || err_set(e, EINVAL, "there is none: it can only be none");
}

/* What makes no difference here. */
static bool set_either(struct board_setup *s, const char *value, struct err *e)
{
    return !strcmp(value, "on") || !strcmp(value, "off") || err_set(e, EINVAL, "it can be on or off");
}

static const struct board_option options[] = {
    {"gic-version", "version of the interrupt controller: 2, 3, max", set_gic_version},
    {"its", "whether GICv3 has its translation service: on, off", set_its},
    {"highmem", "addresses above 4 GiB, for memory and cards: on, off", set_highmem},
    {"secure", "exception level 3: off", set_off},
    {"virtualization", "exception level 2: off", set_off},
    {"mte", "memory tags: off", set_off},
    {"usb", "a USB controller: off", set_off},
    {"ras", "reports of errors in memory: off", set_off},
    {"acpi", "tables of ACPI: off, auto", set_acpi},
    {"iommu", "an IOMMU: none", set_iommu},
    {"graphics", "graphics: on, off", set_either},
    {"mem-merge", "pages that are the same may be one: on, off", set_either},
    {"suppress-vmdesc", "migration does not describe itself: on, off", set_either},
    {"dump-guest-core", "the guest's memory in core dumps: off", set_off},
    {NULL},
};

const struct board board_aarch64_virt = {
    .name = "virt", .version = "virt-7.2", .variants = WITH_GICV2 | WITH_ITS | WITH_HIGHMEM, .cpu_type = "arm-cpu", .ram_id = "mach-virt.ram",
    .isa = "aarch64", .help = "ARM virtual machine", .default_cpu = "cortex-a57",
    .max_cpus = 16, .ram_at = 1 * GIB, .default_ram = 128 * MIB, .max_ram = 255 * GIB,
    .conduit = CPU_CONDUIT_HVC, .controller = "gic", .firmware_size = FLASH_SIZE, .fw_cfg = "fw_cfg", .power_key = "power",
    .console = "/pl011@9000000", .parts = parts, .wires = wires, .options = options, .part = virt_part, .map = virt_map,
    .connect = virt_connect,
    .describe = virt_describe, .boot = fw_boot_arm64,
};
