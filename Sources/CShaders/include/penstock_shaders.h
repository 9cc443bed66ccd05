// The compute shaders of PenstockVulkan, as SPIR-V within the library: a resource file would have to be found when the
// program runs. In C, since its compiler takes a binary file as it is; Swift's takes seconds for an array that long.
// Can go when SwiftPM's embedded resources are cheap to compile.
#ifndef PENSTOCK_SHADERS_H
#define PENSTOCK_SHADERS_H

#include <stddef.h>
#include <stdint.h>

struct penstock_shader {
    const uint32_t *code;
    /// In bytes.
    size_t size;
};

/// gdeflate.comp.
struct penstock_shader penstock_shader_gdeflate(void);

#endif
