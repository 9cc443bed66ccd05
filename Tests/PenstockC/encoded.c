// Reads that are decoded on their way, through the C interface. Arguments: a folder for files.
#include "check.h"
#include "encoders.h"

#include <stdatomic.h>

enum { SIZE = 700000 };

static penstock_runtime runtime;
static penstock_queue queue;
static unsigned char plain[SIZE], decoded[SIZE];
static char folder[200];

static penstock_file store(const char *name, const void *bytes, size_t size) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "wb");
    CHECK(stream && fwrite(bytes, 1, size, stream) == size && fclose(stream) == 0);
    penstock_file file;
    OK(penstock_file_open(runtime, path, PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_AUTOMATIC, &file));
    return file;
}

// Decodes with the host's own decoder: every byte is one off.
static _Thread_local int is_set_up;
static void set_up(void *user_data) {
    (void)user_data;
    is_set_up = 1;
}
static int32_t decode_one_off(
    void *user_data, const void *source, uint64_t source_size, void *destination, uint64_t destination_size) {
    CHECK(is_set_up && user_data == plain);
    if (source_size != destination_size) return 1;
    for (uint64_t index = 0; index < source_size; index++)
        ((unsigned char *)destination)[index] = (unsigned char)(((const unsigned char *)source)[index] - 1);
    return 0;
}

static penstock_request decoding(penstock_file file, uint32_t compression, size_t size) {
    penstock_request request = read_request(file, 0, decoded, size);
    request.compression = compression;
    request.uncompressed_size = SIZE;
    if (compression == PENSTOCK_COMPRESSION_CUSTOM) {
        request.decoder = decode_one_off;
        request.decoder_user_data = plain;
    }
    return request;
}

static void decodes(const char *name, uint32_t compression, unsigned char *bytes, size_t size) {
    penstock_file file = store(name, bytes, size);
    penstock_request request = decoding(file, compression, size);
    memset(decoded, 0, SIZE);
    OK(result_of(queue, &request));
    CHECK(memcmp(plain, decoded, SIZE) == 0);
    // Of another size than it says, and damaged.
    request.uncompressed_size = SIZE - 1;
    EXPECT(PENSTOCK_ERROR_MALFORMED_DATA, result_of(queue, &request));
    if (compression != PENSTOCK_COMPRESSION_CUSTOM) {
        for (size_t index = size / 2; index < size / 2 + 64; index++) bytes[index] ^= 0xA5;
        penstock_file damaged = store("damaged", bytes, size);
        request = decoding(damaged, compression, size);
        penstock_result result = result_of(queue, &request);
        // Without a checksum some damage only makes other bytes of it.
        CHECK(result == PENSTOCK_ERROR_MALFORMED_DATA || memcmp(plain, decoded, SIZE) != 0);
        OK(penstock_file_close(damaged));
    }
    // The file ends too early.
    request = decoding(file, compression, size);
    request.size += 10;
    EXPECT(PENSTOCK_ERROR_MALFORMED_DATA, result_of(queue, &request));
    OK(penstock_file_close(file));
    printf("ok  %s: %zu bytes to %d\n", name, size, SIZE);
}

static atomic_int ended, cancelled;
static void count(const penstock_completion *completion) {
    if (completion->result == PENSTOCK_ERROR_CANCELLED) cancelled++;
    else CHECK(completion->result == PENSTOCK_OK && completion->bytes == SIZE);
    ended++;
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    for (size_t index = 0; index < SIZE; index++) plain[index] = (unsigned char)((index * index >> 9) & 0x3F);
    penstock_runtime_options options = {.struct_size = sizeof options, .thread_start = set_up};
    OK(penstock_runtime_create(&options, &runtime));
    OK(penstock_queue_create(runtime, NULL, &queue));

    static unsigned char encoded[2 * SIZE];
    decodes("zstd", PENSTOCK_COMPRESSION_ZSTD, encoded, ZSTD_compress(encoded, sizeof encoded, plain, SIZE, 3));
    decodes("lz4", PENSTOCK_COMPRESSION_LZ4, encoded,
            (size_t)LZ4_compress_default((const char *)plain, (char *)encoded, SIZE, sizeof encoded));
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(6);
    decodes("deflate", PENSTOCK_COMPRESSION_DEFLATE, encoded,
            libdeflate_deflate_compress(compressor, plain, SIZE, encoded, sizeof encoded));
    decodes("zlib", PENSTOCK_COMPRESSION_ZLIB, encoded,
            libdeflate_zlib_compress(compressor, plain, SIZE, encoded, sizeof encoded));
    decodes("gzip", PENSTOCK_COMPRESSION_GZIP, encoded,
            libdeflate_gzip_compress(compressor, plain, SIZE, encoded, sizeof encoded));
    libdeflate_free_compressor(compressor);
    decodes("gdeflate", PENSTOCK_COMPRESSION_GDEFLATE, encoded, write_gdeflate(encoded, plain, SIZE));
    for (size_t index = 0; index < SIZE; index++) encoded[index] = (unsigned char)(plain[index] + 1);
    decodes("custom", PENSTOCK_COMPRESSION_CUSTOM, encoded, SIZE);

    // Bytes that are no GDeflate at all.
    penstock_file file = store("noise", plain, SIZE);
    penstock_request request = decoding(file, PENSTOCK_COMPRESSION_GDEFLATE, SIZE);
    EXPECT(PENSTOCK_ERROR_MALFORMED_DATA, result_of(queue, &request));

    // What cannot be done is said, not ignored.
    request = decoding(file, 99, SIZE);
    EXPECT(PENSTOCK_ERROR_NOT_SUPPORTED, penstock_enqueue(queue, &request, 1, NULL));
    request = decoding(file, PENSTOCK_COMPRESSION_ZSTD, SIZE);
    request.operation = PENSTOCK_WRITE;
    EXPECT(PENSTOCK_ERROR_NOT_SUPPORTED, penstock_enqueue(queue, &request, 1, NULL));
    request = decoding(file, PENSTOCK_COMPRESSION_CUSTOM, SIZE);
    request.decoder = NULL;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    request = decoding(file, PENSTOCK_COMPRESSION_ZSTD, SIZE);
    request.uncompressed_size = 0;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    request.uncompressed_size = UINT64_MAX;
    EXPECT(PENSTOCK_ERROR_INVALID_RANGE, penstock_enqueue(queue, &request, 1, NULL));

    // Many at once, some of them cancelled; and closing the queue ends them all first.
    size_t size = ZSTD_compress(encoded, sizeof encoded, plain, SIZE, 3);
    file = store("many", encoded, size);
    enum { COUNT = 400 };
    unsigned char *memory = malloc((size_t)COUNT * SIZE);
    for (int index = 0; index < COUNT; index++) {
        request = decoding(file, PENSTOCK_COMPRESSION_ZSTD, size);
        request.callback = count;
        request.tag = (uint64_t)(index % 2);
        // Each into memory of its own.
        request.memory = memory + (size_t)index * SIZE;
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    OK(penstock_cancel(queue, 1, 1));
    OK(penstock_queue_close(queue));
    CHECK(ended == COUNT && cancelled > 0 && cancelled <= COUNT / 2);
    printf("ok  %d decoded, %d cancelled\n", COUNT - cancelled, cancelled);
    OK(penstock_runtime_close(runtime));
    free(memory);
    return 0;
}
