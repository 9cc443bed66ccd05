// The library's own header; a module map cannot name what lies outside of it on every distribution.
#include <xxhash.h>
