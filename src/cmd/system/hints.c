#include "cmd/system/hints.h"

const struct monitor_option option_hints[] = {
    {"machine", "type:string accel:string dumpdtb:string memory-backend:string pflash0:string pflash1:string usb:boolean dump-guest-core:boolean "
                "mem-merge:boolean graphics:boolean"},
    {"accel", ""},
    {"memory", "size:size"},
    {"smp-opts", "cpus:number sockets:number clusters:number cores:number threads:number maxcpus:number"},
    {"fw_cfg", "name:string file:string string:string"},
    {"rtc", "base:string clock:string"},
    {"chardev", "backend:string path:string host:string port:string fd:string server:boolean wait:boolean mux:boolean "
                "signal:boolean append:boolean"},
    {"drive", "file:string if:string unit:number id:string format:string cache:string readonly:boolean discard:string media:string"},
    {"netdev", ""},
    {"nic", ""},
    {"device", ""},
    {"object", ""},
    {"global", "driver:string property:string value:string"},
    {"mon", "mode:string chardev:string pretty:boolean"},
    {"name", "guest:string debug-threads:boolean"},
    {"msg", "timestamp:boolean"},
    {"overcommit", "mem-lock:boolean cpu-pm:boolean"},
    {"boot-opts", "order:string once:string menu:boolean strict:boolean"},
    {NULL},
};
