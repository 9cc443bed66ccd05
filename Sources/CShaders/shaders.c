#include "penstock_shaders.h"

// Of C23, and known to the compiler in every mode.
#pragma clang diagnostic ignored "-Wc23-extensions"

// Checked against its source by .ci/shaders.
static const _Alignas(uint32_t) unsigned char gdeflate[] = {
#embed "gdeflate.comp.spv"
};

struct penstock_shader penstock_shader_gdeflate(void) {
    return (struct penstock_shader){(const uint32_t *)gdeflate, sizeof gdeflate};
}
