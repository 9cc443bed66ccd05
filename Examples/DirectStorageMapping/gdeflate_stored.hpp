// Encodes GDeflate tile streams as simply as can be: stored blocks, dealt to 32 lanes. For tests; it makes nothing
// smaller.
#ifndef GDEFLATE_STORED_HPP
#define GDEFLATE_STORED_HPP

#include <cstdint>
#include <cstring>
#include <vector>

namespace gdeflate {

// One page of 64 KiB at most. Each lane's bits lie in words of its own, in the order in which a decoder asks for them:
// every lane has one to begin with, and takes the next free one whenever fewer than 32 bits are left to it.
class Page {
public:
    Page(const unsigned char *bytes, std::uint32_t size) : lanes_(32) {
        for (std::uint32_t lane = 0; lane < 32; lane++) TakeWord(lane);
        for (std::uint32_t start = 0, part; start < size; start += part) {
            part = size - start < 32768 ? size - start : 32768;
            Put(0, start + part == size, 3);  // the last block or not; stored
            Put(0, part, 16);
            for (std::uint32_t index = 0; index < part; index++) Put(index % 32, bytes[start + index], 8);
        }
    }

    const std::vector<std::uint32_t> &Words() const { return words_; }

private:
    struct Lane {
        std::size_t place[2];  // of the words that it holds
        std::uint32_t written, held;
        Lane() : place(), written(0), held(0) {}
    };

    void TakeWord(std::uint32_t index) {
        Lane &lane = lanes_[index];
        lane.place[(lane.written + lane.held) / 32 % 2] = words_.size();
        words_.push_back(0);
        lane.held += 32;
    }

    void Put(std::uint32_t index, std::uint32_t value, std::uint32_t bits) {
        Lane &lane = lanes_[index];
        for (std::uint32_t bit = 0; bit < bits; bit++, lane.written++, lane.held--)
            words_[lane.place[lane.written / 32 % 2]] |= (value >> bit & 1) << lane.written % 32;
        if (lane.held < 32) TakeWord(index);
    }

    std::vector<Lane> lanes_;
    std::vector<std::uint32_t> words_;
};

inline std::vector<unsigned char> Encode(const std::vector<unsigned char> &bytes) {
    const std::uint32_t page_size = 65536, size = static_cast<std::uint32_t>(bytes.size());
    const std::uint32_t pages = (size + page_size - 1) / page_size;
    std::vector<std::uint32_t> words;
    // Its identifier and how many pages there are; the size of a page, and of the last one.
    words.push_back(4 | 0xFB << 8 | pages << 16);
    words.push_back(1 | size % page_size << 2);
    // Where each page begins, but for the first: there, how long the last one is.
    words.resize(2 + pages);
    const std::size_t body = words.size();
    for (std::uint32_t index = 0; index < pages; index++) {
        const std::uint32_t start = index * page_size, rest = size - start;
        const Page page(bytes.data() + start, rest < page_size ? rest : page_size);
        if (index > 0) words[2 + index] = static_cast<std::uint32_t>(4 * (words.size() - body));
        words[2] = static_cast<std::uint32_t>(4 * page.Words().size());
        words.insert(words.end(), page.Words().begin(), page.Words().end());
    }
    std::vector<unsigned char> stream(4 * words.size());
    std::memcpy(stream.data(), words.data(), stream.size());
    return stream;
}

}  // namespace gdeflate

#endif
