// Encoded bytes for the tests of decoding, made by the codecs' own libraries. C11.
#ifndef PENSTOCK_ENCODERS_H
#define PENSTOCK_ENCODERS_H

#include "check.h"

#include <libdeflate.h>
#include <lz4.h>
#include <zstd.h>

// GDeflate, as simple as it can be: stored blocks, dealt to 32 lanes

typedef struct page_writer {
    unsigned char *words;
    uint32_t count;            // words that lanes have taken
    uint32_t place[32][2];     // the two words that a lane holds, or will
    uint32_t written[32];      // bits that a lane has got
    uint32_t held[32];         // bits that its decoder has not read
} page_writer;

static inline void take_word(page_writer *page, uint32_t lane) {
    page->place[lane][(page->written[lane] + page->held[lane]) / 32 % 2] = page->count;
    memset(page->words + 4 * page->count++, 0, 4);
    page->held[lane] += 32;
}

static inline void put(page_writer *page, uint32_t lane, uint32_t value, uint32_t bits) {
    for (uint32_t bit = 0; bit < bits; bit++) {
        const uint32_t at = page->written[lane]++;
        unsigned char *byte = page->words + 4 * page->place[lane][at / 32 % 2] + at % 32 / 8;
        if (value >> bit & 1) *byte |= (unsigned char)(1 << at % 8);
        page->held[lane]--;
    }
    if (page->held[lane] < 32) take_word(page, lane);
}

static inline uint32_t write_page(unsigned char *words, const unsigned char *bytes, uint32_t size) {
    page_writer page;
    memset(&page, 0, sizeof page);
    page.words = words;
    for (uint32_t lane = 0; lane < 32; lane++) take_word(&page, lane);
    for (uint32_t start = 0, part; start < size; start += part) {
        part = size - start < 32768 ? size - start : 32768;
        put(&page, 0, start + part == size, 3);
        put(&page, 0, part, 16);
        for (uint32_t index = 0; index < part; index++) put(&page, index % 32, bytes[start + index], 8);
    }
    return 4 * page.count;
}

static inline size_t write_gdeflate(unsigned char *stream, const unsigned char *bytes, uint32_t size) {
    const uint32_t tiles = (size + 65535) / 65536, last = size % 65536;
    const uint32_t header[2] = {4 | 0xFB << 8 | tiles << 16, 1 | last << 2};
    memcpy(stream, header, 8);
    uint32_t at = 0, length = 0;
    for (uint32_t tile = 0; tile < tiles; tile++) {
        if (tile > 0) memcpy(stream + 8 + 4 * tile, &at, 4);
        const uint32_t rest = size - 65536 * tile;
        length = write_page(stream + 8 + 4 * tiles + at, bytes + 65536 * tile, rest < 65536 ? rest : 65536);
        at += length;
    }
    memcpy(stream + 8, &length, 4);
    return 8 + 4 * tiles + at;
}

// The host's own encoding, and its decoder: every byte is one more than it should be.
static inline int32_t decode_one_more(
    void *user_data, const void *source, uint64_t source_size, void *destination, uint64_t destination_size) {
    (void)user_data;
    if (source_size != destination_size) return 1;
    for (uint64_t index = 0; index < source_size; index++)
        ((unsigned char *)destination)[index] = (unsigned char)(((const unsigned char *)source)[index] - 1);
    return 0;
}

enum { FIRST_COMPRESSION = PENSTOCK_COMPRESSION_GDEFLATE, LAST_COMPRESSION = PENSTOCK_COMPRESSION_CUSTOM };

static const char *const compression_names[] = {"none", "gdeflate", "zstd", "lz4", "deflate", "zlib", "gzip", "custom"};

// At most this many bytes come of `size`, however they are encoded.
static inline size_t encoded_bound(size_t size) { return 2 * size + 1024; }

// Encodes bytes as a PENSTOCK_COMPRESSION_… has them, and returns how many that makes; with a checksum, where one may
// have it or not, if `is_checked`.
static inline size_t encode(
    uint32_t compression, int is_checked, const unsigned char *bytes, size_t size, unsigned char *encoded) {
    const size_t bound = encoded_bound(size);
    size_t count = 0;
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(6);
    switch (compression) {
    case PENSTOCK_COMPRESSION_NONE:
        memcpy(encoded, bytes, count = size);
        break;
    case PENSTOCK_COMPRESSION_GDEFLATE:
        count = write_gdeflate(encoded, bytes, (uint32_t)size);
        break;
    case PENSTOCK_COMPRESSION_ZSTD: {
        ZSTD_CCtx *context = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, is_checked);
        count = ZSTD_compress2(context, encoded, bound, bytes, size);
        ZSTD_freeCCtx(context);
        CHECK(!ZSTD_isError(count));
        break;
    }
    case PENSTOCK_COMPRESSION_LZ4:
        count = (size_t)LZ4_compress_default((const char *)bytes, (char *)encoded, (int)size, (int)bound);
        break;
    case PENSTOCK_COMPRESSION_DEFLATE:
        count = libdeflate_deflate_compress(compressor, bytes, size, encoded, bound);
        break;
    case PENSTOCK_COMPRESSION_ZLIB:
        count = libdeflate_zlib_compress(compressor, bytes, size, encoded, bound);
        break;
    case PENSTOCK_COMPRESSION_GZIP:
        count = libdeflate_gzip_compress(compressor, bytes, size, encoded, bound);
        break;
    case PENSTOCK_COMPRESSION_CUSTOM:
        for (size_t index = 0; index < size; index++) encoded[index] = (unsigned char)(bytes[index] + 1);
        count = size;
        break;
    }
    libdeflate_free_compressor(compressor);
    CHECK(count > 0);
    return count;
}

// Has a request decode what `encode` has made.
static inline void set_compression(penstock_request *request, uint32_t compression, uint64_t uncompressed_size) {
    request->compression = compression;
    request->uncompressed_size = compression == PENSTOCK_COMPRESSION_NONE ? 0 : uncompressed_size;
    request->decoder = compression == PENSTOCK_COMPRESSION_CUSTOM ? decode_one_more : NULL;
}

#endif
