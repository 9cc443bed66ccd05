// Every function of the C interface as a host uses it, and misuses it. Arguments: a folder for files.
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

enum { FILE_SIZE = 1 << 20, FOREVER_MS = 60000 };
static const uint64_t forever = UINT64_MAX;

static char folder[200];
static char large[256];

// ---- Counting callbacks

static atomic_int ended, succeeded, cancelled, failed;
static atomic_ullong moved;

static void reset(void) {
    ended = succeeded = cancelled = failed = 0;
    moved = 0;
}

static void count(const penstock_completion *completion) {
    CHECK(completion->struct_size == sizeof *completion);
    if (completion->result == PENSTOCK_OK) {
        succeeded++;
    } else {
        if (completion->result == PENSTOCK_ERROR_CANCELLED) cancelled++;
        else failed++;
        CHECK(completion->bytes == 0);
    }
    moved += completion->bytes;
    ended++;
}

// ---- Tests; each has a runtime of its own

static void results_have_text(uint32_t driver) {
    (void)driver;
    CHECK(penstock_version() == PENSTOCK_VERSION);
    CHECK(strcmp(penstock_result_name(PENSTOCK_OK), "OK") == 0);
    CHECK(strcmp(penstock_result_name(PENSTOCK_ERROR_IO), "IO") == 0);
    for (int result = -1000; result < 1000; result++) {
        CHECK(strlen(penstock_result_name(result)) > 0);
        CHECK(strlen(penstock_result_text(result)) > 0);
    }
}

static void runtimes_say_what_they_use(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_runtime_info info = {.struct_size = sizeof info};
    OK(penstock_runtime_query(runtime, &info));
    CHECK(info.driver == driver && info.queues == 0 && info.files == 0);
    size_t length = 0;
    OK(penstock_runtime_describe(runtime, NULL, 0, &length));
    CHECK(length > 10);
    char *text = malloc(length + 1);
    memset(text, 1, length + 1);
    OK(penstock_runtime_describe(runtime, text, length + 1, &length));
    CHECK(strlen(text) == length);
    OK(penstock_runtime_describe(runtime, text, 5, &length));
    CHECK(strlen(text) == 4);
    free(text);
    // A host of an older version knows less of the struct.
    memset(&info, 0xEE, sizeof info);
    info.struct_size = 8;
    OK(penstock_runtime_query(runtime, &info));
    CHECK(info.driver == driver && info.queues == 0xEEEEEEEE);
    OK(penstock_runtime_close(runtime));
}

static void misuse_is_refused(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver), none = {0};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_create(NULL, NULL));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_runtime_close(none));
    penstock_runtime_options options = {.struct_size = 3};
    EXPECT(PENSTOCK_ERROR_STRUCT_SIZE, penstock_runtime_create(&options, &none));
    options = (penstock_runtime_options){.struct_size = sizeof options, .driver = 77};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_create(&options, &none));
    options = (penstock_runtime_options){.struct_size = sizeof options, .bytes_in_flight = UINT64_MAX};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_create(&options, &none));
    // A struct of a later version: what this one does not know must be zero.
    struct {
        penstock_runtime_options known;
        uint64_t later;
    } newer = {{.struct_size = sizeof newer}, 0};
    OK(penstock_runtime_create(&newer.known, &none));
    OK(penstock_runtime_close(none));
    newer.later = 1;
    EXPECT(PENSTOCK_ERROR_STRUCT_SIZE, penstock_runtime_create(&newer.known, &none));

    penstock_queue queue, no_queue = {0};
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_queue_create((penstock_runtime){42}, NULL, &queue));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_create(runtime, NULL, NULL));
    penstock_queue_options queue_options = {.struct_size = sizeof queue_options, .capacity = UINT32_MAX};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_create(runtime, &queue_options, &queue));
    queue_options = (penstock_queue_options){.struct_size = sizeof queue_options, .when_full = 9};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_create(runtime, &queue_options, &queue));
    OK(penstock_queue_create(runtime, NULL, &queue));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_query(queue, NULL));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_take_errors(queue, NULL));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue_status(queue, NULL));
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_enqueue_event(queue, -1));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_submit(no_queue));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_wait(no_queue, 0));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_cancel(no_queue, 0, 0));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_status_load(NULL));

    penstock_file file;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_open(runtime, NULL, PENSTOCK_ACCESS_READ, 0, &file));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_open(runtime, large, PENSTOCK_ACCESS_READ, 0, NULL));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_open(runtime, large, 0, 0, &file));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_open(runtime, large, 1 << 20, 0, &file));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_open(runtime, large, PENSTOCK_ACCESS_READ, 9, &file));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_open(runtime, "", PENSTOCK_ACCESS_READ, 0, &file));
    EXPECT(PENSTOCK_ERROR_NOT_FOUND, penstock_file_open(runtime, "/nonexistent/a", PENSTOCK_ACCESS_READ, 0, &file));
    EXPECT(PENSTOCK_ERROR_IS_DIRECTORY, penstock_file_open(runtime, folder, PENSTOCK_ACCESS_READ, 0, &file));
    EXPECT(PENSTOCK_ERROR_UNSUPPORTED_FILE_TYPE,
           penstock_file_open(runtime, "/dev/null", PENSTOCK_ACCESS_READ, 0, &file));
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_file_adopt(runtime, -1, 0, 0, &file));
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_adopt(runtime, 0, 8, 0, &file));
    file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_file_size(file, NULL));

    // Requests that say themselves what is wrong with them: refused, and nothing is heard of them.
    unsigned char bytes[64];
    penstock_status status = 1234;
    size_t accepted = 99;
    penstock_request good = read_request(file, 0, bytes, sizeof bytes), bad;
    reset();
    good.callback = count;
    good.status = &status;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, NULL, 1, &accepted));
    CHECK(accepted == 0);
    OK(penstock_enqueue(queue, NULL, 0, &accepted));
#define REFUSED(expected, change)                                        \
    bad = good;                                                          \
    change;                                                              \
    EXPECT(expected, penstock_enqueue(queue, &bad, 1, &accepted));       \
    CHECK(accepted == 0 && status == 1234)
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.memory = NULL);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.size = 0);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.operation = 2);
    REFUSED(PENSTOCK_ERROR_INVALID_HANDLE, bad.file.id = 0);
    REFUSED(PENSTOCK_ERROR_INVALID_HANDLE, bad.file.id ^= 1ull << 40);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.size = UINT64_MAX);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.offset = UINT64_MAX);
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.offset = INT64_MAX);
    REFUSED(PENSTOCK_ERROR_BAD_DESCRIPTOR, bad.operation = PENSTOCK_WRITE);
    REFUSED(PENSTOCK_ERROR_STRUCT_SIZE, bad.struct_size = 0);
    REFUSED(PENSTOCK_ERROR_STRUCT_SIZE, bad.struct_size = UINT32_MAX);
    // In an array, those in front of the bad one are taken.
    penstock_request both[] = {good, good, good};
    both[1].size = 0;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, both, 3, &accepted));
    CHECK(accepted == 1);
    OK(penstock_wait(queue, forever));
    CHECK(ended == 1 && succeeded == 1 && status == PENSTOCK_OK);

    // Memory that is not there.
    good.memory = (void *)16;
    OK(penstock_enqueue(queue, &good, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(penstock_status_load(&status) == PENSTOCK_ERROR_BAD_ADDRESS);
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    CHECK(record.count == 1 && record.first.result == PENSTOCK_ERROR_BAD_ADDRESS && record.first.os_error == EFAULT);

    // Closed handles.
    OK(penstock_file_close(file));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_file_close(file));
    uint64_t size;
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_file_size(file, &size));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_enqueue(queue, &good, 1, NULL));
    OK(penstock_queue_close(queue));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_queue_close(queue));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_enqueue(queue, &good, 1, NULL));
    penstock_queue_info info = {.struct_size = sizeof info};
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_queue_query(queue, &info));

    // A file of another runtime's.
    penstock_runtime other = make_runtime(driver);
    OK(penstock_queue_create(runtime, NULL, &queue));
    good.file = open_file(other, large, PENSTOCK_ACCESS_READ);
    EXPECT(PENSTOCK_ERROR_FOREIGN_FILE, penstock_enqueue(queue, &good, 1, NULL));
    // Closing a runtime closes what is its own.
    OK(penstock_runtime_close(other));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_file_size(good.file, &size));
    OK(penstock_runtime_close(runtime));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_submit(queue));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_runtime_close(runtime));
}

static void small_files_are_read(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue;
    OK(penstock_queue_create(runtime, NULL, &queue));
    char path[256];
    unsigned char bytes[100];
    penstock_status status;

    make_file(path, folder, "fifteen", 15);
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    uint64_t size;
    OK(penstock_file_size(file, &size));
    CHECK(size == 15);
    reset();
    memset(bytes, 0xAA, sizeof bytes);
    penstock_request request = read_request(file, 0, bytes, 15);
    request.status = &status;
    request.callback = count;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    CHECK(penstock_status_load(&status) == PENSTOCK_PENDING || penstock_status_load(&status) == PENSTOCK_OK);
    OK(penstock_wait(queue, forever));
    CHECK(penstock_status_load(&status) == PENSTOCK_OK && moved == 15);
    CHECK(matches(bytes, 0, 15) && bytes[15] == 0xAA);

    // 100 bytes of a file that has 5; and nothing behind its end.
    make_file(path, folder, "five", 5);
    penstock_file five = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    reset();
    memset(bytes, 0xAA, sizeof bytes);
    request = read_request(five, 0, bytes, 100);
    request.callback = count;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(ended == 1 && succeeded == 1 && moved == 5 && matches(bytes, 0, 5) && bytes[5] == 0xAA);
    request.offset = 12345;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(ended == 2 && moved == 5 && bytes[5] == 0xAA);

    // Three reads of 10 at 0, 10 and 26.
    make_file(path, folder, "thirtysix", 36);
    penstock_file file36 = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    reset();
    penstock_request three[3];
    const uint64_t offsets[] = {0, 10, 26};
    for (int index = 0; index < 3; index++) {
        three[index] = read_request(file36, offsets[index], bytes + 10 * index, 10);
        three[index].callback = count;
    }
    size_t accepted;
    OK(penstock_enqueue(queue, three, 3, &accepted));
    CHECK(accepted == 3);
    OK(penstock_wait(queue, forever));
    CHECK(succeeded == 3 && moved == 30);
    for (int index = 0; index < 3; index++) CHECK(matches(bytes + 10 * index, offsets[index], 10));
    OK(penstock_runtime_close(runtime));
}

static void what_is_written_is_read_back(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue;
    OK(penstock_queue_create(runtime, NULL, &queue));
    char path[256];
    snprintf(path, sizeof path, "%s/written", folder);
    penstock_file file = open_file(
        runtime, path, PENSTOCK_ACCESS_READ | PENSTOCK_ACCESS_WRITE | PENSTOCK_ACCESS_CREATE | PENSTOCK_ACCESS_TRUNCATE);
    enum { SIZE = 3 << 20 };
    unsigned char *bytes = malloc(SIZE), *again = calloc(1, SIZE);
    fill(bytes, 0, SIZE);
    reset();
    penstock_request request = read_request(file, 77, bytes, SIZE);
    request.operation = PENSTOCK_WRITE;
    request.callback = count;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(succeeded == 1 && moved == SIZE);
    request.operation = PENSTOCK_READ;
    request.memory = again;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    CHECK(succeeded == 2 && memcmp(bytes, again, SIZE) == 0);
    penstock_file twin;
    EXPECT(PENSTOCK_ERROR_ALREADY_EXISTS,
           penstock_file_open(runtime, path, PENSTOCK_ACCESS_WRITE | PENSTOCK_ACCESS_CREATE | PENSTOCK_ACCESS_EXCLUSIVE,
                              PENSTOCK_CACHING_BUFFERED, &twin));
    free(bytes);
    free(again);
    OK(penstock_runtime_close(runtime));
}

static void descriptors_are_adopted(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue;
    OK(penstock_queue_create(runtime, NULL, &queue));
    unsigned char bytes[64];
    for (int closes = 0; closes < 2; closes++) {
        int descriptor = open(large, O_RDONLY | O_CLOEXEC);
        CHECK(descriptor >= 0);
        penstock_file file;
        OK(penstock_file_adopt(runtime, descriptor, closes ? PENSTOCK_ADOPT_AND_CLOSE : 0, 0, &file));
        memset(bytes, 0, sizeof bytes);
        penstock_request request = read_request(file, 4000, bytes, sizeof bytes);
        OK(penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_wait(queue, forever));
        CHECK(matches(bytes, 4000, sizeof bytes));
        // It was open for reading alone.
        request.operation = PENSTOCK_WRITE;
        EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_file_close(file));
        CHECK((fcntl(descriptor, F_GETFD) >= 0) == !closes);
        if (!closes) close(descriptor);
    }
    OK(penstock_runtime_close(runtime));
}

// A queue of eight slots takes them all, whatever it does when it is full.
static void full_queues_lose_nothing(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    enum { COUNT = 64, SIZE = 4096 };
    static unsigned char bytes[COUNT][SIZE];
    penstock_request requests[COUNT];
    for (uint32_t when_full = PENSTOCK_WHEN_FULL_BLOCK; when_full <= PENSTOCK_WHEN_FULL_GROW; when_full++) {
        penstock_queue_options options = {
            .struct_size = sizeof options, .capacity = 8, .when_full = when_full, .capacity_limit = 16};
        penstock_queue queue;
        OK(penstock_queue_create(runtime, &options, &queue));
        reset();
        memset(bytes, 0, sizeof bytes);
        for (int index = 0; index < COUNT; index++) {
            requests[index] = read_request(file, (uint64_t)index * SIZE, bytes[index], SIZE);
            requests[index].callback = count;
        }
        const size_t slots = when_full == PENSTOCK_WHEN_FULL_GROW ? 16 : 8;
        size_t done = 0, accepted = 0;
        if (when_full == PENSTOCK_WHEN_FULL_BLOCK) {
            OK(penstock_enqueue(queue, requests, COUNT, &accepted));
            CHECK(accepted == COUNT);
        } else {
            // Nothing has been submitted, so nothing can have ended.
            EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue(queue, requests, COUNT, &accepted));
            CHECK(accepted == slots);
            penstock_queue_info info = {.struct_size = sizeof info};
            OK(penstock_queue_query(queue, &info));
            CHECK(info.slots == slots && info.slots_free == 0 && info.bytes_pending == slots * SIZE);
            for (done = accepted; done < COUNT; done += accepted) {
                OK(penstock_wait(queue, forever));
                penstock_result result = penstock_enqueue(queue, requests + done, COUNT - done, &accepted);
                CHECK(result == PENSTOCK_OK || result == PENSTOCK_WOULD_BLOCK);
                CHECK(accepted > 0);
            }
        }
        OK(penstock_wait(queue, forever));
        CHECK(ended == COUNT && succeeded == COUNT && moved == COUNT * SIZE);
        for (int index = 0; index < COUNT; index++) CHECK(matches(bytes[index], (uint64_t)index * SIZE, SIZE));
        penstock_queue_info info = {.struct_size = sizeof info};
        OK(penstock_queue_query(queue, &info));
        CHECK(info.slots_free == slots && info.bytes_pending == 0 && info.completed == COUNT && info.failed == 0);
        OK(penstock_queue_close(queue));
    }
    OK(penstock_runtime_close(runtime));
}

static void places_are_signalled_in_order(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue;
    OK(penstock_queue_create(runtime, NULL, &queue));
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    enum { ROUNDS = 200, EACH = 7, SIZE = 4096 };
    static unsigned char bytes[ROUNDS][EACH][SIZE];
    static penstock_status single[ROUNDS][EACH], places[ROUNDS];
    int event = eventfd(0, EFD_CLOEXEC);
    for (int round = 0; round < ROUNDS; round++) {
        for (int index = 0; index < EACH; index++) {
            penstock_request request = read_request(file, (uint64_t)round * SIZE, bytes[round][index], SIZE);
            request.status = &single[round][index];
            // The third round has one that fails: memory that is not there.
            if (round == 3 && index == 2) request.memory = (void *)16;
            OK(penstock_enqueue(queue, &request, 1, NULL));
        }
        // An event between does not take the failure away from the status.
        if (round == 3) OK(penstock_enqueue_event(queue, event));
        OK(penstock_enqueue_status(queue, &places[round]));
        OK(penstock_enqueue_event(queue, event));
    }
    for (int round = ROUNDS - 1; round >= 0; round--) {
        if (round == ROUNDS - 1) OK(penstock_wait(queue, forever));
        CHECK(penstock_status_load(&places[round]) == (round == 3 ? PENSTOCK_ERROR_BAD_ADDRESS : PENSTOCK_OK));
        for (int index = 0; index < EACH; index++) {
            if (round == 3 && index == 2) continue;
            CHECK(single[round][index] == PENSTOCK_OK && matches(bytes[round][index], (uint64_t)round * SIZE, SIZE));
        }
    }
    uint64_t signals = 0;
    CHECK(read(event, &signals, sizeof signals) == sizeof signals && signals == ROUNDS + 1);

    // A place that is reached when all in front of it have ended, seen while they end.
    for (int round = 0; round < ROUNDS; round++) {
        for (int index = 0; index < EACH; index++) {
            penstock_request request = read_request(file, (uint64_t)round * SIZE, bytes[round][index], SIZE);
            request.status = &single[round][index];
            OK(penstock_enqueue(queue, &request, 1, NULL));
        }
        OK(penstock_enqueue_status(queue, &places[round]));
    }
    for (int round = 0; round < ROUNDS; round++) {
        while (penstock_status_load(&places[round]) == PENSTOCK_PENDING) sched_yield();
        for (int before = 0; before <= round; before++) {
            CHECK(penstock_status_load(&places[before]) == PENSTOCK_OK);
            for (int index = 0; index < EACH; index++) CHECK(penstock_status_load(&single[before][index]) == PENSTOCK_OK);
        }
    }

    // Of nothing at all.
    OK(penstock_enqueue_status(queue, &places[0]));
    OK(penstock_enqueue_event(queue, event));
    struct pollfd poll_event = {.fd = event, .events = POLLIN};
    CHECK(poll(&poll_event, 1, FOREVER_MS) == 1);
    CHECK(places[0] == PENSTOCK_OK);
    close(event);
    OK(penstock_runtime_close(runtime));
}

static void errors_are_told_each_and_together(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue;
    OK(penstock_queue_create(runtime, NULL, &queue));
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    unsigned char bytes[64];
    reset();
    for (int index = 0; index < 10; index++) {
        penstock_request request = read_request(file, 100 + (uint64_t)index, index % 2 ? (void *)16 : bytes, 64);
        request.callback = count;
        request.name = "a name";
        request.tag = (uint64_t)index;
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    OK(penstock_wait(queue, forever));
    CHECK(ended == 10 && failed == 5 && succeeded == 5);
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    CHECK(record.count == 5 && record.first.os_error == EFAULT && record.first.size == 64);
    CHECK(record.first.offset == 100 + record.first.tag && record.first.tag % 2 == 1);
    CHECK(strcmp(record.first.name, "a name") == 0);
    OK(penstock_take_errors(queue, &record));
    CHECK(record.count == 0 && record.first.result == 0);
    OK(penstock_runtime_close(runtime));
}

static void cancelled_by_mask_and_value(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue_options options = {.struct_size = sizeof options, .capacity = 8192};
    penstock_queue queue, bystander;
    OK(penstock_queue_create(runtime, &options, &queue));
    OK(penstock_queue_create(runtime, &options, &bystander));
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    enum { COUNT = 4096, SIZE = 64 << 10 };
    static unsigned char bytes[SIZE], others[SIZE];
    static penstock_status statuses[COUNT];
    reset();
    for (int index = 0; index < COUNT; index++) {
        penstock_request request = read_request(file, 0, bytes, SIZE);
        request.tag = 0x500 | (uint64_t)(index % 4);
        request.status = &statuses[index];
        request.callback = count;
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    penstock_request request = read_request(file, 0, others, SIZE);
    penstock_status other;
    request.tag = 0x501;
    request.status = &other;
    OK(penstock_enqueue(bystander, &request, 1, NULL));
    OK(penstock_cancel(queue, 0xF0F, 0x501));
    OK(penstock_wait(queue, forever));
    OK(penstock_wait(bystander, forever));
    CHECK(ended == COUNT && failed == 0 && cancelled > 0 && cancelled <= COUNT / 4);
    for (int index = 0; index < COUNT; index++)
        CHECK(statuses[index] == PENSTOCK_OK || (index % 4 == 1 && statuses[index] == PENSTOCK_ERROR_CANCELLED));
    // Another queue's requests are its own, whatever their tags.
    CHECK(other == PENSTOCK_OK);

    // What has only been enqueued is cancelled too, and a time that is over ends a request.
    reset();
    for (int index = 0; index < COUNT; index++) {
        request = read_request(file, 0, bytes, SIZE);
        request.timeout = 1;
        request.callback = count;
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    OK(penstock_wait(queue, forever));
    CHECK(ended == COUNT && failed > 0 && cancelled == 0);
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    OK(penstock_runtime_close(runtime));
}

// ---- Callbacks that use the queue

static penstock_queue chain_queue;
static penstock_file chain_file;
static unsigned char chain_bytes[512];
static atomic_int chain_left;

static void enqueue_again(const penstock_completion *completion) {
    CHECK(completion->result == PENSTOCK_OK);
    CHECK(completion->user_data == &chain_left);
    if (--chain_left <= 0) return;
    penstock_request request = read_request(chain_file, 0, chain_bytes, sizeof chain_bytes);
    request.callback = enqueue_again;
    request.user_data = &chain_left;
    OK(penstock_enqueue(chain_queue, &request, 1, NULL));
    OK(penstock_submit(chain_queue));
    // These would wait for this very callback.
    EXPECT(PENSTOCK_ERROR_WRONG_THREAD, penstock_wait(chain_queue, forever));
}

static void callbacks_enqueue(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    // One slot: it is free again when the callback runs.
    penstock_queue_options options = {.struct_size = sizeof options, .capacity = 1};
    OK(penstock_queue_create(runtime, &options, &chain_queue));
    chain_file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    chain_left = 1000;
    penstock_request request = read_request(chain_file, 0, chain_bytes, sizeof chain_bytes);
    request.callback = enqueue_again;
    request.user_data = &chain_left;
    OK(penstock_enqueue(chain_queue, &request, 1, NULL));
    OK(penstock_submit(chain_queue));
    while (chain_left > 0) sched_yield();
    OK(penstock_runtime_close(runtime));
}

static void close_this(const penstock_completion *completion) {
    penstock_queue *queue = completion->user_data;
    penstock_result result = penstock_queue_close(*queue);
    CHECK(result == PENSTOCK_OK || result == PENSTOCK_ERROR_INVALID_HANDLE);
    ended++;
}

static void callbacks_close_their_queue(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    static unsigned char bytes[4096];
    for (int round = 0; round < 50; round++) {
        penstock_queue queue;
        OK(penstock_queue_create(runtime, NULL, &queue));
        reset();
        for (int index = 0; index < 20; index++) {
            penstock_request request = read_request(file, 0, bytes, sizeof bytes);
            request.callback = close_this;
            request.user_data = &queue;
            OK(penstock_enqueue(queue, &request, 1, NULL));
        }
        OK(penstock_submit(queue));
        while (ended < 20) sched_yield();
        EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_submit(queue));
    }
    OK(penstock_runtime_close(runtime));
}

static atomic_int is_over;

static void not_when_over(const penstock_completion *completion) {
    (void)completion;
    CHECK(!is_over);
    ended++;
}

static void closing_ends_everything_first(uint32_t driver) {
    enum { COUNT = 2000, SIZE = 16 << 10 };
    static unsigned char bytes[SIZE];
    for (int closes_runtime = 0; closes_runtime < 2; closes_runtime++) {
        penstock_runtime runtime = make_runtime(driver);
        penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
        for (int round = 0; round < 10; round++) {
            penstock_queue_options options = {.struct_size = sizeof options, .capacity = COUNT};
            penstock_queue queue;
            OK(penstock_queue_create(runtime, &options, &queue));
            reset();
            is_over = 0;
            static penstock_status status;
            for (int index = 0; index < COUNT; index++) {
                penstock_request request = read_request(file, 0, bytes, SIZE);
                request.callback = not_when_over;
                OK(penstock_enqueue(queue, &request, 1, NULL));
            }
            OK(penstock_enqueue_status(queue, &status));
            if (closes_runtime) OK(penstock_runtime_close(runtime));
            else OK(penstock_queue_close(queue));
            is_over = 1;
            CHECK(ended == COUNT && status == PENSTOCK_OK);
            EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_submit(queue));
            if (closes_runtime) {
                runtime = make_runtime(driver);
                file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
            }
        }
        OK(penstock_runtime_close(runtime));
    }
}

// ---- The host's own threads

static pthread_t main_thread;

static void on_this_thread(const penstock_completion *completion) {
    CHECK(pthread_equal(pthread_self(), main_thread));
    penstock_runtime *runtime = completion->user_data;
    uint32_t delivered = 99;
    OK(penstock_dispatch(*runtime, 0, forever, &delivered));
    CHECK(delivered == 0);
    EXPECT(PENSTOCK_ERROR_WRONG_THREAD, penstock_runtime_close(*runtime));
    ended++;
}

static void callbacks_run_in_dispatch(uint32_t driver) {
    main_thread = pthread_self();
    penstock_runtime_options options = {
        .struct_size = sizeof options, .driver = driver, .delivery = PENSTOCK_DELIVER_ON_DISPATCH};
    penstock_runtime runtime;
    OK(penstock_runtime_create(&options, &runtime));
    penstock_queue_options queue_options = {
        .struct_size = sizeof queue_options, .capacity = 32, .when_full = PENSTOCK_WHEN_FULL_REFUSE};
    penstock_queue queue;
    OK(penstock_queue_create(runtime, &queue_options, &queue));
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    static unsigned char bytes[4096];
    penstock_request request = read_request(file, 0, bytes, sizeof bytes);
    penstock_status status;
    request.callback = on_this_thread;
    request.user_data = &runtime;
    request.status = &status;
    reset();
    for (int index = 0; index < 32; index++) OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    // All have ended, and none has been delivered: what has not been taken keeps its slot.
    CHECK(ended == 0 && penstock_status_load(&status) == PENSTOCK_OK);
    EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue(queue, &request, 1, NULL));
    uint32_t delivered = 0;
    OK(penstock_dispatch(runtime, 5, 0, &delivered));
    CHECK(delivered == 5 && ended == 5);
    OK(penstock_dispatch(runtime, 0, forever, &delivered));
    CHECK(delivered == 27 && ended == 32);
    OK(penstock_dispatch(runtime, 0, 0, &delivered));
    CHECK(delivered == 0);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_submit(queue));
    OK(penstock_dispatch(runtime, 0, forever, &delivered));
    CHECK(delivered == 1 && ended == 33);
    // Closing delivers the rest, here.
    for (int index = 0; index < 10; index++) OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_queue_close(queue));
    CHECK(ended == 43);
    OK(penstock_runtime_close(runtime));
}

static atomic_int threads_started, threads_stopped, lines;
static _Thread_local int is_set_up;

static void set_up(void *user_data) {
    CHECK(user_data == &lines);
    is_set_up = 1;
    threads_started++;
}

static void tear_down(void *user_data) {
    CHECK(user_data == &lines && is_set_up);
    threads_stopped++;
}

static void log_line(void *user_data, int32_t level, const char *message) {
    CHECK(user_data == &lines && level >= PENSTOCK_LOG_TRACE && level <= PENSTOCK_LOG_CRITICAL && message[0]);
    lines++;
}

static void only_where_set_up(const penstock_completion *completion) {
    (void)completion;
    CHECK(is_set_up);
    ended++;
}

static void threads_are_set_up_first(uint32_t driver) {
    reset();
    penstock_runtime_options options = {
        .struct_size = sizeof options, .driver = driver, .name = "a host", .log = log_line, .log_user_data = &lines,
        .thread_start = set_up, .thread_stop = tear_down, .thread_user_data = &lines};
    threads_started = threads_stopped = lines = 0;
    penstock_runtime runtime;
    OK(penstock_runtime_create(&options, &runtime));
    CHECK(threads_started == 1 && lines > 0);
    penstock_queue queue;
    OK(penstock_queue_create(runtime, NULL, &queue));
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    static unsigned char bytes[4096];
    penstock_request request = read_request(file, 0, bytes, sizeof bytes);
    request.callback = only_where_set_up;
    for (int index = 0; index < 100; index++) OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_runtime_close(runtime));
    CHECK(ended == 100 && threads_started == 1 && threads_stopped == 1);
}

static void *enqueue_many(void *argument) {
    penstock_queue queue = *(penstock_queue *)argument;
    unsigned char bytes[256];
    penstock_request request = read_request(chain_file, 0, bytes, sizeof bytes);
    request.callback = count;
    for (int index = 0; index < 5000; index++) {
        OK(penstock_enqueue(queue, &request, 1, NULL));
        if (index % 50 == 0) OK(penstock_submit(queue));
    }
    OK(penstock_wait(queue, forever));
    return NULL;
}

static void many_threads_share_a_queue(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue_options options = {.struct_size = sizeof options, .capacity = 300};
    penstock_queue queue;
    OK(penstock_queue_create(runtime, &options, &queue));
    chain_file = open_file(runtime, large, PENSTOCK_ACCESS_READ);
    reset();
    pthread_t threads[4];
    for (int index = 0; index < 4; index++) CHECK(pthread_create(&threads[index], NULL, enqueue_many, &queue) == 0);
    for (int index = 0; index < 4; index++) pthread_join(threads[index], NULL);
    CHECK(ended == 20000 && succeeded == 20000);
    OK(penstock_runtime_close(runtime));
}

static int threads_before, descriptors_before;

// Nothing is left of a runtime that has been closed.
static void expect_nothing_left(void) {
    await_entries("/proc/self/task", threads_before);
    CHECK(count_entries("/proc/self/fd") == descriptors_before);
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_file(large, folder, "large", FILE_SIZE);
    static const driver_test tests[] = {
        TEST(results_have_text),
        TEST(runtimes_say_what_they_use),
        TEST(misuse_is_refused),
        TEST(small_files_are_read),
        TEST(what_is_written_is_read_back),
        TEST(descriptors_are_adopted),
        TEST(full_queues_lose_nothing),
        TEST(places_are_signalled_in_order),
        TEST(errors_are_told_each_and_together),
        TEST(cancelled_by_mask_and_value),
        TEST(callbacks_enqueue),
        TEST(callbacks_close_their_queue),
        TEST(closing_ends_everything_first),
        TEST(callbacks_run_in_dispatch),
        TEST(threads_are_set_up_first),
        TEST(many_threads_share_a_queue),
    };
    threads_before = count_entries("/proc/self/task");
    descriptors_before = count_entries("/proc/self/fd");
    run_tests(tests, sizeof tests / sizeof *tests, expect_nothing_left);
    return 0;
}
