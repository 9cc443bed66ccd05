// The library's own headers; a module map cannot name what lies outside of it on every distribution.
#include <lz4.h>
#include <lz4hc.h>
