// A host in C++11: a level that loads itself, with its callbacks as lambdas. Arguments: a folder for files.
#include "check.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace {

// Calls for the end of what it names.
template <typename Handle, penstock_result (*Close)(Handle)>
class Owned {
public:
    Owned() : handle() {}
    ~Owned() {
        if (handle.id) OK(Close(handle));
    }
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    Handle handle;
};

typedef Owned<penstock_runtime, penstock_runtime_close> Runtime;
typedef Owned<penstock_queue, penstock_queue_close> Queue;
typedef Owned<penstock_file, penstock_file_close> File;

struct Part {
    std::vector<unsigned char> bytes;
    uint64_t offset;
    std::atomic<int> *left;
};

}  // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    char path[256];
    make_file(path, arguments[1], "level", 100000);
    Runtime runtime;
    OK(penstock_runtime_create(nullptr, &runtime.handle));
    std::atomic<int> left(100);
    std::vector<std::unique_ptr<Part>> parts;
    {
        Queue queue;
        OK(penstock_queue_create(runtime.handle, nullptr, &queue.handle));
        File file;
        OK(penstock_file_open(
            runtime.handle, path, PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_AUTOMATIC, &file.handle));
        for (int index = 0; index < 100; index++) {
            std::unique_ptr<Part> part(new Part{std::vector<unsigned char>(1000), index * 1000u, &left});
            penstock_request request = read_request(file.handle, part->offset, part->bytes.data(), part->bytes.size());
            request.user_data = part.get();
            request.callback = [](const penstock_completion *completion) {
                const Part *part = static_cast<const Part *>(completion->user_data);
                CHECK(completion->result == PENSTOCK_OK);
                CHECK(completion->bytes == part->bytes.size());
                CHECK(matches(part->bytes.data(), part->offset, part->bytes.size()));
                --*part->left;
            };
            OK(penstock_enqueue(queue.handle, &request, 1, nullptr));
            parts.push_back(std::move(part));
        }
        OK(penstock_submit(queue.handle));
        // The file is closed before the queue: what has been submitted ends all the same.
    }
    CHECK(left == 0);
    printf("ok  a level of %zu parts\n", parts.size());
    return 0;
}
