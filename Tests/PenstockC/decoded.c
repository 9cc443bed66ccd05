// Every compression from every source into every place: files and the host's memory, into memory, buffers and images.
// Bytes that are damaged or lie about their size, and decoders of the host's own. Arguments: a folder for files.
#include "check.h"
#include "encoders.h"
#include "gpu.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum { LARGEST = 700001, MARGIN = 4096 };
enum { FROM_FILE = 0, FROM_MEMORY = 1 };
enum { INTO_MEMORY = 0, INTO_BUFFER = 1, INTO_IMAGE = 2 };
static const uint64_t forever = UINT64_MAX;
static const char *const source_names[] = {"a file", "memory"};
static const char *const place_names[] = {"memory", "a buffer", "an image"};

static char folder[200];
static penstock_runtime runtime;
static penstock_queue queue;
static penstock_device device;
static gpu_buffer buffer;
static unsigned char plain[LARGEST];

// Something that can be made smaller, and is not all the same.
static void make_plain(void) {
    for (size_t index = 0; index < LARGEST; index++) plain[index] = (unsigned char)((index * index >> 9) & 0x3F);
}

// A file of some bytes behind `offset` others, opened.
static penstock_file store(const unsigned char *encoded, size_t size, size_t offset) {
    char path[300];
    snprintf(path, sizeof path, "%s/encoded", folder);
    // Each is a file of its own: those before may be open.
    unlink(path);
    FILE *stream = fopen(path, "wb");
    CHECK(stream);
    for (size_t index = 0; index < offset; index++) CHECK(fputc(0x5A, stream) != EOF);
    CHECK(fwrite(encoded, 1, size, stream) == size && fclose(stream) == 0);
    return open_file(runtime, path, PENSTOCK_ACCESS_READ);
}

// ---- Every compression, source and place

static gpu_image image;
static const penstock_image_description description = {
    .struct_size = sizeof description, .format = VK_FORMAT_R8G8B8A8_UNORM, .width = 100, .height = 50};
enum { IMAGE_SIZE = 100 * 50 * 4 };

static void decode_into(int place, penstock_request request, size_t count) {
    static unsigned char memory[LARGEST + 2 * MARGIN], seen[IMAGE_SIZE];
    // At an odd place.
    const size_t at = 123;
    memset(memory, 0xEE, sizeof memory);
    memset(buffer.bytes, 0xEE, LARGEST + 2 * MARGIN);
    if (place == INTO_MEMORY) request.memory = memory + at;
    if (place == INTO_BUFFER) request.buffer = buffer.adopted;
    if (place == INTO_BUFFER) request.buffer_offset = at;
    if (place == INTO_IMAGE) request.image = image.adopted;
    request.new_layout = VK_IMAGE_LAYOUT_GENERAL;
    const penstock_completion completion = perform(queue, &request);
    OK(completion.result);
    CHECK(completion.bytes == count);
    if (place == INTO_IMAGE) {
        const VkBufferImageCopy whole = {
            .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1},
            .imageExtent = {100, 50, 1}};
        gpu_look(image.handle, VK_IMAGE_LAYOUT_GENERAL, whole, &buffer);
        memcpy(seen, buffer.bytes, IMAGE_SIZE);
        CHECK(memcmp(seen, plain, IMAGE_SIZE) == 0);
        return;
    }
    const unsigned char *target = place == INTO_BUFFER ? buffer.bytes : memory;
    CHECK(memcmp(target + at, plain, count) == 0);
    CHECK(all_are(target, at, 0xEE) && all_are(target + at + count, LARGEST + 2 * MARGIN - at - count, 0xEE));
}

static void each_into_each(void) {
    static const size_t sizes[] = {1, 3, 999, 65535, 65536, 65537, LARGEST};
    unsigned char *encoded = malloc(encoded_bound(LARGEST));
    for (int source = FROM_FILE; source <= FROM_MEMORY; source++) {
        for (int place = INTO_MEMORY; place <= INTO_IMAGE; place++) {
            for (uint32_t compression = PENSTOCK_COMPRESSION_NONE; compression <= LAST_COMPRESSION; compression++) {
                for (size_t index = 0; index < sizeof sizes / sizeof *sizes; index++) {
                    if (place == INTO_IMAGE && index > 0) break;
                    const size_t count = place == INTO_IMAGE ? IMAGE_SIZE : sizes[index];
                    const size_t size = encode(compression, 1, plain, count, encoded);
                    const size_t offset = 7 * index;
                    penstock_request request = read_request((penstock_file){0}, offset, NULL, size);
                    set_compression(&request, compression, count);
                    if (source == FROM_FILE) {
                        request.file = store(encoded, size, offset);
                    } else {
                        request.source = encoded;
                        request.offset = 0;
                    }
                    decode_into(place, request, count);
                    if (source == FROM_FILE) OK(penstock_file_close(request.file));
                }
            }
            printf("ok  from %s into %s\n", source_names[source], place_names[place]);
        }
    }
    free(encoded);
}

// ---- Limits

// What is decoded in one piece has no more than this, unless it stays in memory.
enum { LIMIT = 16 << 20, LARGE = LIMIT + (4 << 20) };

static void large_ones_are_in_pieces_or_refused(void) {
    unsigned char *large = malloc(LARGE), *decoded = malloc(LARGE), *encoded = malloc(encoded_bound(LARGE));
    for (size_t index = 0; index < LARGE; index++) large[index] = (unsigned char)(index * index >> 11);
    gpu_buffer target = gpu_make_buffer(device, LARGE, 0);
    static const struct {
        uint32_t compression;
        size_t count;
        int is_too_large;
    } cases[] = {
        {PENSTOCK_COMPRESSION_CUSTOM, LIMIT, 0}, {PENSTOCK_COMPRESSION_CUSTOM, LIMIT + 1, 1},
        {PENSTOCK_COMPRESSION_ZSTD, LIMIT, 0},   {PENSTOCK_COMPRESSION_LZ4, LIMIT, 0},
        {PENSTOCK_COMPRESSION_GDEFLATE, LARGE, 0},
    };
    for (size_t index = 0; index < sizeof cases / sizeof *cases; index++) {
        const size_t count = cases[index].count, size = encode(cases[index].compression, 0, large, count, encoded);
        penstock_file file = store(encoded, size, 0);
        for (int source = FROM_FILE; source <= FROM_MEMORY; source++) {
            for (int place = INTO_MEMORY; place <= INTO_BUFFER; place++) {
                penstock_request request = read_request((penstock_file){0}, 0, NULL, size);
                set_compression(&request, cases[index].compression, count);
                if (source == FROM_FILE) request.file = file;
                else request.source = encoded;
                if (place == INTO_MEMORY) request.memory = decoded;
                else request.buffer = target.adopted;
                memset(place == INTO_MEMORY ? decoded : target.bytes, 0, count);
                const penstock_result result = result_of(queue, &request);
                if (cases[index].is_too_large && (source == FROM_FILE || place == INTO_BUFFER)) {
                    EXPECT(PENSTOCK_ERROR_MEMORY_LIMIT, result);
                } else {
                    OK(result);
                    CHECK(memcmp(place == INTO_MEMORY ? decoded : target.bytes, large, count) == 0);
                }
            }
        }
        OK(penstock_file_close(file));
        printf("ok  %s: %zu bytes to %zu\n", compression_names[cases[index].compression], size, count);
    }
    gpu_destroy_buffer(&target);
    free(large);
    free(decoded);
    free(encoded);
}

// ---- Hostile bytes

// Room for bytes that end where memory ends: to read or write one more is a fault.
typedef struct guarded {
    unsigned char *start;
    size_t room;
} guarded;

static guarded make_guarded(size_t room) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    room = (room + page - 1) / page * page;
    unsigned char *start = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(start != MAP_FAILED && mprotect(start + room, page, PROT_NONE) == 0);
    return (guarded){start, room};
}

enum { TOGETHER = 128, SMALL = 777 };
static struct {
    guarded source, target;
    ending end;
} slots[TOGETHER];
static uint64_t tried, rejected;

// Ends when all that have been enqueued have: each decoded to what it said it would, or was refused for what it is.
static void settle(int count) {
    OK(penstock_wait(queue, forever));
    for (int index = 0; index < count; index++) {
        const penstock_completion *completion = &slots[index].end.completion;
        CHECK(slots[index].end.count == 1);
        CHECK((completion->result == PENSTOCK_OK && completion->bytes == SMALL) ||
              (completion->result == PENSTOCK_ERROR_MALFORMED_DATA && completion->bytes == 0));
        // What lies in front of its place is nobody's.
        CHECK(all_are(slots[index].target.start, slots[index].target.room - SMALL, 0xEE));
        tried++;
        rejected += completion->result != PENSTOCK_OK;
    }
}

static void try(const unsigned char *encoded, size_t size, uint32_t compression, int place, int *used) {
    const int slot = (*used)++;
    const guarded *source = &slots[slot].source, *target = &slots[slot].target;
    memcpy(source->start + source->room - size, encoded, size);
    memset(target->start, 0xEE, target->room - SMALL);
    memset(&slots[slot].end, 0, sizeof slots[slot].end);
    penstock_request request = read_request((penstock_file){0}, 0, NULL, size);
    request.source = source->start + source->room - size;
    set_compression(&request, compression, SMALL);
    if (place == INTO_MEMORY) request.memory = target->start + target->room - SMALL;
    if (place == INTO_BUFFER) request.buffer = buffer.adopted;
    request.buffer_offset = place == INTO_BUFFER ? (uint64_t)slot * 1024 + 100 : 0;
    request.callback = keep_ending;
    request.user_data = &slots[slot].end;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    if (*used < TOGETHER) return;
    settle(*used);
    *used = 0;
}

static void hostile_bytes_are_refused(void) {
    unsigned char encoded[4096], damaged[4096];
    for (int slot = 0; slot < TOGETHER; slot++) {
        slots[slot].source = make_guarded(sizeof encoded);
        slots[slot].target = make_guarded(SMALL);
    }
    for (uint32_t compression = FIRST_COMPRESSION; compression < PENSTOCK_COMPRESSION_CUSTOM; compression++) {
        for (int place = INTO_MEMORY; place <= INTO_BUFFER; place++) {
            tried = rejected = 0;
            int used = 0;
            memset(buffer.bytes, 0xEE, LARGEST);
            const size_t size = encode(compression, 1, plain, SMALL, encoded);
            CHECK(size <= sizeof encoded);
            // Every truncation. None of them may pass for the whole.
            for (size_t length = 1; length < size; length++) try(encoded, length, compression, place, &used);
            settle(used);
            used = 0;
            CHECK(tried == size - 1);
            const uint64_t truncated = rejected;
            CHECK(truncated == tried);
            // Bits flipped, one at a time: all of them for memory, some for the slower place.
            for (size_t bit = 0; bit < 8 * size; bit += place == INTO_MEMORY ? 1 : 13) {
                memcpy(damaged, encoded, size);
                damaged[bit / 8] ^= (unsigned char)(1 << bit % 8);
                try(damaged, size, compression, place, &used);
            }
            settle(used);
            printf("ok  %s into %s: %llu of %zu truncations refused, %llu of %llu in all\n",
                   compression_names[compression], place_names[place], (unsigned long long)truncated, size - 1,
                   (unsigned long long)rejected, (unsigned long long)tried);
            // What lies between the places in the buffer is nobody's either.
            for (int slot = 0; place == INTO_BUFFER && slot < TOGETHER; slot++) {
                CHECK(all_are(buffer.bytes + slot * 1024, 100, 0xEE));
                CHECK(all_are(buffer.bytes + slot * 1024 + 100 + SMALL, 1024 - 100 - SMALL, 0xEE));
            }
            // Sizes that it does not have.
            for (int wrong = -1; wrong <= 1; wrong += 2) {
                memset(buffer.bytes, 0xEE, 2048);
                penstock_request request = read_request((penstock_file){0}, 0, NULL, size);
                unsigned char memory[SMALL + 1];
                request.source = encoded;
                set_compression(&request, compression, (uint64_t)(SMALL + wrong));
                if (place == INTO_MEMORY) request.memory = memory;
                else request.buffer = buffer.adopted;
                EXPECT(PENSTOCK_ERROR_MALFORMED_DATA, result_of(queue, &request));
                CHECK(all_are(buffer.bytes + SMALL + wrong, 2048 - SMALL - (size_t)wrong, 0xEE));
            }
        }
    }
    for (int slot = 0; slot < TOGETHER; slot++) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        munmap(slots[slot].source.start, slots[slot].source.room + page);
        munmap(slots[slot].target.start, slots[slot].target.room + page);
    }
}

// ---- Decoders of the host's own

static _Thread_local int is_set_up;
static atomic_int started, stopped, inside, most_inside;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void set_up(void *user_data) {
    CHECK(user_data == plain && !is_set_up);
    is_set_up = 1;
    started++;
}

static void tear_down(void *user_data) {
    CHECK(user_data == plain && is_set_up);
    stopped++;
}

// Fails: as a negative number or a positive one, having written nothing or all of it.
static int32_t fail_to_decode(
    void *user_data, const void *source, uint64_t source_size, void *destination, uint64_t destination_size) {
    CHECK(is_set_up && source && source_size == SMALL && destination_size == SMALL);
    const int way = *(const int *)user_data;
    if (way & 1) memset(destination, 1, destination_size);
    return way & 2 ? INT32_MIN : 1;
}

// Stays until another one is there as well.
static int32_t decode_in_company(
    void *user_data, const void *source, uint64_t source_size, void *destination, uint64_t destination_size) {
    CHECK(is_set_up && user_data == &inside && source_size == destination_size);
    pthread_mutex_lock(&mutex);
    if (++inside > most_inside) most_inside = inside;
    pthread_cond_broadcast(&changed);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 10;
    while (most_inside < 2 && pthread_cond_timedwait(&changed, &mutex, &limit) == 0) {}
    inside--;
    pthread_mutex_unlock(&mutex);
    memcpy(destination, source, destination_size);
    return 0;
}

static void hosts_decode_themselves(void) {
    unsigned char memory[SMALL];
    penstock_file file = store(plain, SMALL, 0);
    for (int way = 0; way < 4; way++) {
        for (int source = FROM_FILE; source <= FROM_MEMORY; source++) {
            for (int place = INTO_MEMORY; place <= INTO_BUFFER; place++) {
                penstock_request request = read_request((penstock_file){0}, 0, NULL, SMALL);
                if (source == FROM_FILE) request.file = file;
                else request.source = plain;
                if (place == INTO_MEMORY) request.memory = memory;
                else request.buffer = buffer.adopted;
                request.compression = PENSTOCK_COMPRESSION_CUSTOM;
                request.uncompressed_size = SMALL;
                request.decoder = fail_to_decode;
                request.decoder_user_data = &way;
                EXPECT(PENSTOCK_ERROR_MALFORMED_DATA, result_of(queue, &request));
            }
        }
    }
    enum { COUNT = 50 };
    static unsigned char decoded[COUNT][SMALL];
    for (int index = 0; index < COUNT; index++) {
        penstock_request request = read_request(file, 0, decoded[index], SMALL);
        request.compression = PENSTOCK_COMPRESSION_CUSTOM;
        request.uncompressed_size = SMALL;
        request.decoder = decode_in_company;
        request.decoder_user_data = &inside;
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    OK(penstock_wait(queue, forever));
    for (int index = 0; index < COUNT; index++) CHECK(memcmp(decoded[index], plain, SMALL) == 0);
    CHECK(most_inside >= 2 || sysconf(_SC_NPROCESSORS_ONLN) == 1);
    printf("ok  %d decoders of the host's at a time\n", most_inside);
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_plain();
    gpu_open();
    device = gpu_adopt();
    const penstock_runtime_options options = {
        .struct_size = sizeof options, .thread_start = set_up, .thread_stop = tear_down, .thread_user_data = plain};
    OK(penstock_runtime_create(&options, &runtime));
    queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    buffer = gpu_make_buffer(device, LARGEST + 2 * MARGIN, 0);
    image = gpu_make_image(device, &description);
    each_into_each();
    large_ones_are_in_pieces_or_refused();
    hostile_bytes_are_refused();
    hosts_decode_themselves();
    OK(penstock_runtime_close(runtime));
    // Its own, and those that have decoded.
    CHECK(started >= 2 && stopped == started);
    gpu_destroy_image(&image);
    gpu_destroy_buffer(&buffer);
    OK(penstock_device_close(device));
    gpu_close();
    return 0;
}
