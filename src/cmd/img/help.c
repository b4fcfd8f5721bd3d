/* What the commands' --help says of their options. */
#include "cmd/img/img.h"

#include <string.h>

#include "base/types.h"

static const struct {
    const char *command, *text;
} pages[] = {
    {"create",
     "Make a new image: empty, or one that shows another and holds the differences to it.\n\n"
     "  -f FORMAT      qcow2, raw or luks (default: qcow2; qemu-img: raw)\n"
     "  -b BACKING     the image that the new one shows where nothing is written to it\n"
     "  -F FORMAT      its format\n"
     "  -u             do not look whether BACKING is there; SIZE must be given\n"
     "  -o A=B,...     options of the format; -o help lists them\n"
     "  -q             say nothing\n"},
    {"info",
     "What an image is. Opens no other file that it names.\n\n"
     "  -f FORMAT          format (default: guessed)\n"
     "  --backing-chain    its backing files, too\n"
     "  --output=json      for programs\n"
     "  -U                 look at it although somebody writes to it\n"},
    {"map",
     "Where its data are: ranges of the disk, and the files and places that hold them.\n\n"
     "  -f FORMAT            format (default: guessed)\n"
     "  -s, --start-offset=N begin there\n"
     "  -l, --max-length=N   so many bytes\n"
     "  --output=json        for programs: also zeros and holes\n"
     "  -U                   look at it although somebody writes to it\n"},
    {"check",
     "Is it consistent? Exit status 0: yes, 2: damaged, 3: leaks only, 63: the format has nothing to check, 1: could not be checked.\n\n"
     "  -f FORMAT        format (default: guessed)\n"
     "  -r leaks|all     repair: what is taken up for nothing, or everything\n"
     "  -T MODE          cache mode, as none\n"
     "  --output=json    for programs\n"
     "  -q               say nothing\n"
     "  -U               look at it although somebody writes to it\n"},
    {"convert",
     "Copy images, one behind the other, into a new one. Zeros become holes.\n\n"
     "  -f FORMAT        format of the sources (default: guessed)\n"
     "  -O FORMAT        format of the new image (default: qcow2; qemu-img: raw)\n"
     "  -c               compress; -o compression_type=zstd is faster\n"
     "  -o A=B,...       options of the new image; -o help lists them\n"
     "  -B BACKING       the new image holds the differences to this one; -F FORMAT\n"
     "  -l NAME          what this internal snapshot holds\n"
     "  -n               into an image that is there; --target-is-zero: and which reads as zeros\n"
     "  -S SIZE          how long zeros must be to become a hole (4k; 0: all data is written)\n"
     "  -C               let the file system copy, which may share the blocks\n"
     "  -m N, -W         N pieces at once; -W: in any order\n"
     "  -r RATE          at most so many bytes a second\n"
     "  -t MODE, -T MODE cache mode of the new image (unsafe), and of the sources\n"
     "  --bitmaps        dirty bitmaps, too; --skip-broken-bitmaps\n"
     "  --salvage        what cannot be read becomes zeros\n"
     "  --image-opts, --target-image-opts    names are options: driver=qcow2,file.filename=...\n"
     "  -p, -q           percentage; say nothing\n"
     "  -U               read the sources although somebody writes to them\n"},
    {"compare",
     "Do two images hold the same? Exit status 0: yes, 1: no, 2 to 4: an error.\n\n"
     "  -f FORMAT, -F FORMAT    formats of the first and the second (default: guessed)\n"
     "  -s                      strict: allocation and size must be the same, too\n"
     "  -T MODE                 cache mode\n"
     "  -p, -q                  percentage; say nothing\n"
     "  -U                      read them although somebody writes to them\n"},
    {"commit",
     "Write what an image holds into its backing file, and empty it.\n\n"
     "  -f FORMAT    format (default: guessed)\n"
     "  -b BASE      into this image below it, and leave FILE as it is\n"
     "  -d           do not empty FILE\n"
     "  -r RATE      at most so many bytes a second\n"
     "  -t MODE      cache mode\n"
     "  -p, -q       percentage; say nothing\n"},
    {"rebase",
     "Give an image another backing file (\"\": none). What it shows stays the same: the differences are copied into it.\n\n"
     "  -f FORMAT         format (default: guessed)\n"
     "  -b BACKING        the new backing file; -F FORMAT\n"
     "  -u                change the name alone: for a backing file that was moved or renamed\n"
     "  -t MODE, -T MODE  cache mode of the image, and of the backing files\n"
     "  -p, -q            percentage; say nothing\n"},
    {"snapshot",
     "Internal snapshots.\n\n"
     "  -l         list them (also without an option)\n"
     "  -c NAME    make one\n"
     "  -a NAME    go back to one: what was written since is lost\n"
     "  -d NAME    delete one\n"
     "  -q         say nothing\n"
     "  -U         list them although somebody writes to the image\n"},
    {"resize",
     "Make the disk of an image longer (+), shorter (-) or that long. Partitions on it stay as they are.\n\n"
     "  --shrink             yes, what lies behind the new end may be lost\n"
     "  --preallocation=MODE room for what is new: off, metadata, falloc or full\n"
     "  -f FORMAT            format (default: guessed)\n"
     "  -q                   say nothing\n"},
    {"amend",
     "Change options of an image that is there; lyre img amend -f FORMAT -o help lists those that can change.\n\n"
     "  -o A=B,...   options\n"
     "  -f FORMAT    format (default: guessed)\n"
     "  --force      also what can make the data unreadable\n"
     "  -t MODE      cache mode\n"
     "  -p, -q       percentage; say nothing\n"},
    {"measure",
     "How long the file of a new image would be: as it is made from FILE or empty, and at most.\n\n"
     "  -O FORMAT      format of the new image (raw)\n"
     "  -o A=B,...     its options\n"
     "  -f FORMAT      format of FILE (default: guessed)\n"
     "  -l NAME        what this internal snapshot holds\n"
     "  --size SIZE    of a disk of this size instead of FILE\n"
     "  --output=json  for programs\n"
     "  -U             read FILE although somebody writes to it\n"},
    {"bitmap",
     "Dirty bitmaps: which parts of a disk were written, for backups.\n\n"
     "  --add, --remove            make one, delete it; -g SIZE: bytes for each bit (64k)\n"
     "  --enable, --disable        begin and stop to record\n"
     "  --clear                    nothing is dirty\n"
     "  --merge NAME               add what this one has; -b FILE: of another image; -F FORMAT\n"
     "  -f FORMAT                  format (default: guessed)\n"},
    {"dd",
     "Copy a part of an image.\n\n"
     "  if=FILE, of=FILE           from, to (which is made)\n"
     "  bs=SIZE                    of a block (512)\n"
     "  count=N, skip=N            so many blocks; leave out so many at the beginning\n"
     "  -f FORMAT, -O FORMAT       formats (default: guessed; raw)\n"
     "  -U                         read it although somebody writes to it\n"},
    {"bench",
     "How fast is it?\n\n"
     "  -c COUNT             requests (75000)\n"
     "  -d DEPTH             so many at once (64)\n"
     "  -s SIZE, -S STEP     of a request (4096), and from one to the next\n"
     "  -o OFFSET            of the first\n"
     "  -w                   write; --pattern=N: this byte\n"
     "  --flush-interval=N   a flush after so many writes; --no-drain: while others are under way\n"
     "  -f FORMAT            format (default: guessed)\n"
     "  -t MODE, -n          cache mode; -n: none\n"
     "  -i MODE              threads or io_uring\n"
     "  -U                   read it although somebody writes to it\n"},
    {"compact",
     "Give room back to the host: what holds zeros, and what the image does not use. Nothing that is read changes.\n\n"
     "  -f FORMAT    format (default: guessed)\n"
     "  -q           say nothing\n"},
};

const char *img_help(const char *command)
{
    unsigned i = 0;
    while (i < ARRAY_LEN(pages) && strcmp(pages[i].command, command))
        i++;
    return i < ARRAY_LEN(pages) ? pages[i].text : "";
}
