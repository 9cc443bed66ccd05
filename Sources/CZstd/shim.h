// The library's own headers; a module map cannot name what lies outside of it on every distribution.
#include <zstd.h>
#include <zstd_errors.h>
