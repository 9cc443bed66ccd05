#version 450
#extension GL_KHR_memory_scope_semantics : require

// Decodes pages of GDeflate: DEFLATE64's symbols, dealt to 32 lanes with a bit buffer each.
//
// A workgroup of 32 invocations, one for each lane, decodes one page after the other, taking the next from a counter. Lanes
// meet through shared memory and barriers only, so any subgroup size will do.
//
// The input may be anything. What is accepted is what the decoder on the CPU accepts (PenstockCompression, PageDecoder).
// - A word is read after a look at what is left of the page (`refill`), and the page has been checked against its buffer
//   (`begin`). A byte is written, or read for a match, after a look at the page's size (`decodeSymbols`, `copyStored`).
// - Every barrier is reached by all: what decides whether there is another one is the same in all lanes, being computed
//   by each from what all have published before the barrier ahead of it.
// - Every loop ends: a round of the lanes takes at least a bit from lane 0, which has as many bits as the page at most;
//   loops over code lengths or output are as long as these. Short ones of a fixed length are written out.
// - Mesa's llvmpipe ends all loops of a workgroup once they have run 65535 times together, and goes on as if they were
//   over. So the times are counted (`spend`), the last look at a loop's condition being one of them, and a page that needs
//   more is given up. Only one of some hundred blocks does.

layout(local_size_x = 32) in;

/// The pages, word after word.
layout(std430, set = 0, binding = 0) readonly restrict buffer Encoded { uint encoded[]; };

/// Where they are decoded to. Zeros beforehand, since bytes of the same word come from several lanes: they are or'ed in.
/// The bytes of a page's last word that it does not have are never anything but zero.
layout(std430, set = 0, binding = 1) coherent restrict buffer Decoded { uint decoded[]; };

/// Of each page: first encoded word, encoded bytes, first decoded word, decoded bytes.
layout(std430, set = 0, binding = 2) readonly restrict buffer Pages { uvec4 pages[]; };

/// Zeros beforehand.
layout(std430, set = 0, binding = 3) restrict buffer Statuses {
    /// The next page to be decoded.
    uint nextPage;
    /// Of each page.
    uint statuses[];
};

layout(push_constant) uniform Parameters {
    uint pageCount;
    /// Pages that a workgroup takes, at most.
    uint pagesPerGroup;
    /// How many times the loops of a page may run.
    uint loopLimit;
};

// Statuses. The host sees 0 for a page that no workgroup has decoded.
const uint DECODED = 1;
const uint MALFORMED = 2;
const uint TRUNCATED = 3;
const uint SIZE_MISMATCH = 4;
/// Given up: neither right nor wrong.
const uint UNFINISHED = 5;

const uint LANES = 32;
const uint LONGEST_CODE = 15;
const uint MOST_LENGTHS = 288 + 32;

// Two codes at a time: the symbols', and the distances'. While the lengths of these are read, the code that they are
// written in takes the distances' place.
const uint SYMBOLS = 0;
const uint DISTANCES = 1;
const uint SYMBOL_BITS = 10;
const uint DISTANCE_BITS = 8;

const uint END_OF_BLOCK = 256;
const uint CODE_LENGTH_ORDER[19] = uint[](16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15);

/// By the first bits of a code: its length above, its symbol in the lower half; 0: see `search`.
shared uint tables[(1u << SYMBOL_BITS) + (1u << DISTANCE_BITS)];
/// The codes' lengths: the symbols', then the distances'. Above, from `build` on, how many before have the same length.
shared uint codeLengths[MOST_LENGTHS];
/// The symbols of both codes by length, then by value; the distances' from 288 on.
shared uint sorted[MOST_LENGTHS];
/// Of 32 symbols, which have a code of each length.
shared uint alike[2][LONGEST_CODE + 1];
/// How many codes of each length there are.
shared uint counts[LONGEST_CODE + 1];
/// Where those of each length begin in `sorted`.
shared uint places[LONGEST_CODE + 1];
/// The end of the codes of each length, in the top bits of 15.
shared uint limits[2][LONGEST_CODE + 1];
/// What is added to a code of each length to find its symbol in `sorted`.
shared uint bases[2][LONGEST_CODE + 1];

// What the lanes tell each other. Three sets, used in turn, make one barrier a round enough: while one set is read by some,
// others write to the next already, and the third, which nobody looks at any more, is cleared.
const uint END = 0;      // the block's end
const uint LITERAL = 1;  // a literal
const uint LENGTH = 2;   // the length of a match
const uint UNUSED = 3;   // a code that is none
const uint SHORT = 4;    // fewer than 32 bits are left
const uint BLOCKED = 5;  // a match that has to wait for another
const uint KINDS = 6;
/// A bit for each lane.
shared uint votes[3][KINDS];
/// A number from each lane.
shared uint values[3][LANES];

// The matches that lanes have begun in a round, and go on with in the next, by turns.
/// Where it begins, in the page's bytes.
shared uint positions[2][LANES];
/// How many bytes all matches of lanes before this one have: of all lanes, whether they have begun a match or not.
shared uint starts[2][LANES];
shared uint distances[2][LANES];

shared uint takenPage;

// The lane's own.
uint lane;
uint laneBit;
/// A bit for each lane before it.
uint lanesBefore;
/// Its next bits, the next one lowest; at least 32 before each step. Zeros above.
uvec2 bits;
uint bitCountLeft;

// The same in all lanes.
uint status;
uint source;
uint sourceWords;
/// The next word of the page.
uint next;
uint destination;
uint destinationSize;
/// Bytes of the page that have been decoded, or begun.
uint size;
/// The set that is written.
uint turn;
/// How many times loops may still run.
uint loopsLeft;

// MARK: Lanes

/// All lanes' writes to shared memory and to the page before it can be seen by all of them behind it.
void meet() {
    controlBarrier(
        gl_ScopeWorkgroup, gl_ScopeWorkgroup, gl_StorageSemanticsShared | gl_StorageSemanticsBuffer,
        gl_SemanticsAcquireRelease);
}

void vote(uint kind, bool isSo) {
    if (isSo) atomicOr(votes[turn][kind], laneBit);
}

/// Ends a round's votes and values; returns the set to read them from until the next round ends.
uint tally() {
    uint set = turn;
    turn = (turn + 1) % 3;
    // Last read two barriers ago, and written again behind this one.
    if (lane < KINDS) votes[turn][lane] = 0;
    meet();
    return set;
}

bool fail(uint reason) {
    status = reason;
    return false;
}

/// Counts the times that loops are about to run.
bool spend(uint count) {
    if (count > loopsLeft) return fail(UNFINISHED);
    loopsLeft -= count;
    return true;
}

// MARK: Bits

uint peek(uint count) { return bits.x & ((1u << count) - 1u); }

/// Drops bits that the lane has used: fewer than 32.
void drop(uint count) {
    // In two steps, since a shift by 32 is undefined.
    bits.x = bits.x >> count | (bits.y << 1) << (31 - count);
    bits.y >>= count;
    bitCountLeft -= count;
}

/// Whether the lane needs a word once it has used so many bits.
bool isShort(uint used) { return bitCountLeft - used < 32; }

/// Gives each lane of the mask, in order, the next word of the page.
bool refill(uint mask) {
    if (uint(bitCount(mask)) > sourceWords - next) return fail(TRUNCATED);
    if ((mask & laneBit) != 0) {
        uint word = encoded[source + next + uint(bitCount(mask & lanesBefore))];
        bits.x |= word << bitCountLeft;
        bits.y |= (word >> 1) >> (31 - bitCountLeft);
        bitCountLeft += 32;
    }
    next += uint(bitCount(mask));
    return true;
}

/// Takes fewer than 32 bits from lane 0, for all to see.
bool takeFromFirst(uint count, out uint value) {
    bool isFirst = lane == 0;
    vote(SHORT, isFirst && isShort(count));
    if (isFirst) values[turn][0] = peek(count);
    uint set = tally();
    value = values[set][0];
    if (isFirst) drop(count);
    return refill(votes[set][SHORT]);
}

// MARK: Codes

/// A symbol and its code's length, found by comparing with the codes' limits; 0: no code begins so.
uint search(uint code, uint lookedAt) {
    // Codes come first bit lowest, and compare first bit highest.
    uint key = bitfieldReverse(lookedAt) >> (32 - LONGEST_CODE);
    // The limits only grow: the longest length whose codes all come before this one, by halves.
    uint shorter = key >= limits[code][8] ? 8 : 0;
    if (key >= limits[code][shorter + 4]) shorter += 4;
    if (key >= limits[code][shorter + 2]) shorter += 2;
    if (key >= limits[code][shorter + 1]) shorter += 1;
    if (shorter == LONGEST_CODE) return 0;
    uint length = shorter + 1;
    uint index = bases[code][length] + (key >> (LONGEST_CODE - length));
    return length << 16 | sorted[min(index, MOST_LENGTHS - 1)];
}

/// The symbol that the lane's bits begin with.
uint look(uint code) {
    uint entry = code == SYMBOLS ? tables[peek(SYMBOL_BITS)] : tables[(1u << SYMBOL_BITS) + peek(DISTANCE_BITS)];
    return entry != 0 ? entry : search(code, bits.x);
}

/// Builds a code from `count` lengths. They must use up all codes, save that there may be no code, or one of one bit.
bool build(uint code, uint first, uint count) {
    if (!spend(2 * (count / LANES + 2) + 16 + 33)) return false;
    if (lane <= LONGEST_CODE) {
        alike[0][lane] = 0;
        alike[1][lane] = 0;
        counts[lane] = 0;
    }
    meet();
    // 32 symbols at a time: how many before it have a code as long?
    uint parity = 0;
    for (uint start = 0; start < count; start += LANES) {
        bool isSymbol = lane < count - start;
        uint length = isSymbol ? codeLengths[first + start + lane] : 0;
        if (isSymbol) atomicOr(alike[parity][length], laneBit);
        meet();
        if (isSymbol) {
            uint before = counts[length] + uint(bitCount(alike[parity][length] & lanesBefore));
            codeLengths[first + start + lane] = before << 4 | length;
        }
        meet();
        if (lane <= LONGEST_CODE) {
            counts[lane] += uint(bitCount(alike[parity][lane]));
            alike[parity][lane] = 0;
        }
        parity ^= 1;
    }
    meet();
    // Each lane looks after the codes of one length.
    uint used = 0;
    uint coded = 0;
    uint longest = 0;
    for (uint length = 1; length <= LONGEST_CODE; ++length) {
        uint number = counts[length];
        if (length == lane) {
            places[length] = 288 * code + coded;
            bases[code][length] = 288 * code + coded - (used >> (LONGEST_CODE - length));
        }
        used += number << (LONGEST_CODE - length);
        coded += number;
        if (number != 0) longest = length;
        if (length == lane) limits[code][length] = used;
    }
    bool isFull = used == 1u << LONGEST_CODE;
    if (!isFull && coded != 0 && !(coded == 1 && longest == 1)) return fail(MALFORMED);
    meet();
    for (uint symbol = lane; symbol < count; symbol += LANES) {
        uint entry = codeLengths[first + symbol];
        uint length = entry & 15;
        if (length != 0) sorted[places[length] + (entry >> 4)] = symbol;
    }
    meet();
    uint indexBits = code == SYMBOLS ? SYMBOL_BITS : DISTANCE_BITS;
    uint table = code == SYMBOLS ? 0 : 1u << SYMBOL_BITS;
    for (uint index = lane; index < 1u << indexBits; index += LANES) {
        uint entry = search(code, index);
        tables[table + index] = entry >> 16 <= indexBits ? entry : 0;
    }
    meet();
    return true;
}

/// The codes' lengths that the format itself sets.
bool setLengths(out uint symbols, out uint distanceCount) {
    symbols = 288;
    distanceCount = 32;
    if (!spend(MOST_LENGTHS / LANES + 1)) return false;
    for (uint index = lane; index < MOST_LENGTHS; index += LANES) {
        codeLengths[index] = index < 144 ? 8 : index < 256 ? 9 : index < 280 ? 7 : index < 288 ? 8 : 5;
    }
    meet();
    return true;
}

/// The codes' lengths that a block brings with it.
bool readLengths(out uint symbols, out uint distanceCount) {
    uint head;
    if (!takeFromFirst(14, head)) return false;
    symbols = (head & 31) + 257;
    distanceCount = (head >> 5 & 31) + 1;
    uint lengths = (head >> 10) + 4;

    // The code of the code lengths: three bits for each of its lengths.
    vote(SHORT, lane < lengths && isShort(3));
    if (lane < 19) codeLengths[CODE_LENGTH_ORDER[lane]] = lane < lengths ? peek(3) : 0;
    uint set = tally();
    if (lane < lengths) drop(3);
    if (!refill(votes[set][SHORT]) || !build(DISTANCES, 0, 19)) return false;

    // Most runs are of zeros.
    if (!spend(MOST_LENGTHS / LANES + 2)) return false;
    for (uint index = lane; index < MOST_LENGTHS; index += LANES) codeLengths[index] = 0;

    // A round fills in at least one length, from lane 0.
    uint total = symbols + distanceCount;
    uint filled = 0;
    uint last = 0;
    while (filled < total) {
        if (!spend(1 + (LANES + 1) + (6 + 1))) return false;
        uint entry = look(DISTANCES);
        uint symbol = entry & 0xffff;
        uint used = entry >> 16;
        uint extra = bits.x >> used;
        uint run = 1;
        if (symbol == 16) {
            run = 3 + (extra & 3);
            used += 2;
        } else if (symbol == 17) {
            run = 3 + (extra & 7);
            used += 3;
        } else if (symbol == 18) {
            run = 11 + (extra & 127);
            used += 7;
        }
        vote(UNUSED, entry == 0);
        vote(SHORT, isShort(used));
        values[turn][lane] = run << 8 | symbol;
        set = tally();

        // What each lane has depends on those before it. Lanes behind the last length have not been asked yet.
        uint stepping = 0;
        uint start = 0;
        uint mine = 0;
        for (uint other = 0; other < LANES && filled < total; ++other) {
            uint value = values[set][other];
            uint length = value & 255;
            if (length == 16 && filled == 0) return fail(MALFORMED);
            if (length != 16) last = length < 16 ? length : 0;
            if (other == lane) {
                start = filled;
                mine = last;
            }
            stepping |= 1u << other;
            filled += value >> 8;
        }
        if ((votes[set][UNUSED] & stepping) != 0 || filled > total) return fail(MALFORMED);
        if ((stepping & laneBit) != 0) {
            // Six at most, if not of zeros.
            for (uint index = 0; mine != 0 && index < run; ++index) codeLengths[start + index] = mine;
            drop(used);
        }
        if (!refill(votes[set][SHORT] & stepping)) return false;
    }
    meet();
    if (codeLengths[END_OF_BLOCK] == 0) return fail(MALFORMED);
    return true;
}

// MARK: Bytes

/// Writes a byte, which nobody has written before, to a place within the page.
void put(uint position, uint value) {
    atomicOr(decoded[destination + (position >> 2)], value << ((position & 3) * 8));
}

uint byteAt(uint position) { return decoded[destination + (position >> 2)] >> ((position & 3) * 8) & 255; }

bool copyStored() {
    uint count;
    if (!takeFromFirst(16, count)) return false;
    if (count > destinationSize - size) return fail(SIZE_MISMATCH);
    if (!spend(count / LANES + 2)) return false;
    for (uint start = 0; start < count; start += LANES) {
        bool isStepping = lane < count - start;
        vote(SHORT, isStepping && isShort(8));
        uint set = tally();
        if (isStepping) {
            put(size + start + lane, peek(8));
            drop(8);
        }
        if (!refill(votes[set][SHORT])) return false;
    }
    size += count;
    return true;
}

/// The lane whose match has the byte of that number, counted through all matches of a round.
uint laneOf(uint index, uint round) {
    // Lanes without a match start where the next one does.
    uint other = starts[round][16] <= index ? 16 : 0;
    if (starts[round][other + 8] <= index) other += 8;
    if (starts[round][other + 4] <= index) other += 4;
    if (starts[round][other + 2] <= index) other += 2;
    if (starts[round][other + 1] <= index) other += 1;
    return other;
}

/// Copies a byte of a match, which lies within the page.
///
/// - Parameter index: The number of the byte, counted through all matches of the round.
void copyByte(uint index, uint round) {
    uint other = laneOf(index, round);
    uint inMatch = index - starts[round][other];
    uint position = positions[round][other];
    uint distance = distances[round][other];
    // A match that reaches into itself repeats what comes before it.
    put(position + inMatch, byteAt(position - distance + (inMatch < distance ? inMatch : inMatch % distance)));
}

// MARK: Symbols

/// The shortest match of a symbol from 257 on, and how many bits are added to it.
uvec2 lengthOf(uint symbol) {
    uint index = symbol - 257;
    if (index < 8) return uvec2(3 + index, 0);
    if (index == 28) return uvec2(3, 16);
    uint extraBits = index / 4 - 1;
    return uvec2(((4 + index % 4) << extraBits) + 3, extraBits);
}

/// The same of a distance.
uvec2 distanceOf(uint symbol) {
    if (symbol < 2) return uvec2(1 + symbol, 0);
    uint extraBits = symbol / 2 - 1;
    return uvec2(((2 + symbol % 2) << extraBits) + 1, extraBits);
}

// Adds up the bytes of the lanes' matches, in `decodeSymbols`.
#define ADD(other) \
    before = other == lane ? sum : before; \
    sum += (lengths >> other & 1) != 0 ? values[set][other] : 0;
#define ADD_4(first) ADD((first)) ADD((first + 1)) ADD((first + 2)) ADD((first + 3))
#define ADD_16(first) ADD_4(first) ADD_4(first + 4) ADD_4(first + 8) ADD_4(first + 12)

/// The symbols of a block, up to its end.
bool decodeSymbols() {
    // Lanes that have begun a match in the round before: they decode its distance next.
    uint pending = 0;
    // Of these: the first one's position, and the bytes of all.
    uint firstPosition = 0;
    uint pendingBytes = 0;
    // The lane's own match.
    uint position = 0;
    uint length = 0;
    uint round = 0;
    bool isEnding = false;
    while (true) {
        // Itself, and the last look at the loop below.
        if (!spend(2)) return false;
        bool isPending = (pending & laneBit) != 0;
        uint entry = look(isPending ? DISTANCES : SYMBOLS);
        uint symbol = entry & 0xffff;
        uint used = entry >> 16;
        uint value = symbol;
        bool isLength = !isPending && symbol > END_OF_BLOCK && symbol < 286;
        if (isPending || isLength) {
            uvec2 range = isPending ? distanceOf(symbol) : lengthOf(symbol);
            value = range.x + (bits.x >> used & ((1u << range.y) - 1u));
            used += range.y;
        }
        // A distance from before the page's start is as bad as a code that is none.
        bool isUnused = entry == 0 || (isPending ? value > position : symbol >= 286);
        vote(UNUSED, isUnused);
        vote(LITERAL, !isUnused && !isPending && symbol < END_OF_BLOCK);
        vote(LENGTH, !isUnused && isLength);
        vote(END, !isUnused && !isPending && symbol == END_OF_BLOCK);
        vote(SHORT, isShort(used));
        // What comes before the first of the matches has been written, and so have the literals between them.
        uint sourceEnd = min(position, position - value + length);
        vote(BLOCKED, isPending && position != firstPosition && sourceEnd > firstPosition);
        values[turn][lane] = value;
        distances[round][lane] = value;
        uint set = tally();

        // From the block's end on, lanes finish what they have begun, once round, and do no more.
        uint stepping = ~0u;
        uint ends = votes[set][END];
        if (isEnding) {
            stepping = pending;
        } else if (ends != 0) {
            uint firstEnd = ends & (~ends + 1u);
            stepping = firstEnd | (firstEnd - 1u) | pending;
        }
        if ((votes[set][UNUSED] & stepping) != 0) return fail(MALFORMED);
        uint literals = votes[set][LITERAL] & stepping;
        uint lengths = votes[set][LENGTH] & stepping;
        uint blocked = votes[set][BLOCKED];
        if ((stepping & laneBit) != 0) drop(used);
        if (!refill(votes[set][SHORT] & stepping)) return false;

        // The bytes of the new matches: those of lanes before this one, and all.
        uint before = 0;
        uint sum = 0;
        if (lengths != 0) {
            ADD_16(0) ADD_16(16)
        }

        // The distances of the round before are there: its matches can be copied, in order, as many at once as do not
        // depend on one another. Its arrays are read until the next tally, and written again two rounds on.
        // All their bytes are dealt to the lanes, since most matches are too short for so many.
        uint copied = 0;
        uint end = 0;
        while (copied < pendingBytes) {
            if (!spend(1)) return false;
            if (copied == end) {
                if (copied > 0) {
                    // Behind the barrier the bytes copied so far are seen by all.
                    firstPosition = positions[round][findLSB(pending)];
                    vote(BLOCKED, (pending & laneBit) != 0 && position != firstPosition && sourceEnd > firstPosition);
                    blocked = votes[tally()][BLOCKED];
                }
                pending = blocked == 0 ? 0 : pending & ~((blocked & (~blocked + 1u)) - 1u);
                end = pending == 0 ? pendingBytes : starts[round][findLSB(pending)];
            }
            if (copied + lane < end) copyByte(copied + lane, round);
            copied = min(copied + LANES, end);
        }

        // Room for each lane's literal or match, in the lanes' order.
        round ^= 1;
        uint total = uint(bitCount(literals)) + sum;
        // 32 times 65538 at most.
        if (total > destinationSize - size) return fail(SIZE_MISMATCH);
        position = size + uint(bitCount(literals & lanesBefore)) + before;
        length = value;
        if ((literals & laneBit) != 0) put(position, symbol);
        positions[round][lane] = position;
        starts[round][lane] = before;
        // Before the first of the matches there are only literals.
        firstPosition = size + uint(bitCount(literals & ((lengths & (~lengths + 1u)) - 1u)));
        pendingBytes = sum;
        pending = lengths;
        size += total;
        if (isEnding || (ends != 0 && pending == 0)) return true;
        isEnding = ends != 0;
    }
}

// MARK: Pages

bool begin(uvec4 page) {
    source = page.x;
    sourceWords = page.y / 4;
    next = 0;
    destination = page.z;
    destinationSize = page.w;
    size = 0;
    bits = uvec2(0);
    bitCountLeft = 0;
    loopsLeft = loopLimit;
    // The host has seen to this; should it not have, nothing is touched.
    uint words = page.w / 4 + uint(page.w % 4 != 0);
    if (source > encoded.length() || sourceWords > encoded.length() - source) return fail(MALFORMED);
    if (destination > decoded.length() || words > decoded.length() - destination) return fail(MALFORMED);
    return refill(~0u);
}

bool decode(uvec4 page) {
    // No bytes, no page.
    if (page.y == 0 && page.w == 0) return true;
    if (!begin(page)) return false;
    bool isFinal = false;
    while (!isFinal) {
        uint head;
        if (!spend(1) || !takeFromFirst(3, head)) return false;
        isFinal = (head & 1) != 0;
        uint type = head >> 1;
        if (type == 3) return fail(MALFORMED);
        if (type == 0) {
            if (!copyStored()) return false;
            continue;
        }
        // Each function is called in as few places as can be: compilers put a copy of it into each.
        uint symbols;
        uint distanceCount;
        if (type == 1 ? !setLengths(symbols, distanceCount) : !readLengths(symbols, distanceCount)) return false;
        if (!build(SYMBOLS, 0, symbols) || !build(DISTANCES, symbols, distanceCount)) return false;
        if (!decodeSymbols()) return false;
    }
    if (size != destinationSize) return fail(SIZE_MISMATCH);
    // The page ends with its last block, and with a whole word.
    if (next != sourceWords || page.y % 4 != 0) return fail(MALFORMED);
    return true;
}

void main() {
    lane = gl_LocalInvocationIndex;
    laneBit = 1u << lane;
    lanesBefore = laneBit - 1u;
    turn = 0;
    if (lane < KINDS) votes[0][lane] = 0;
    uint pageCountInBounds = min(pageCount, min(uint(pages.length()), uint(statuses.length())));
    for (uint taken = 0; taken < pagesPerGroup; ++taken) {
        // Nobody is still reading what the page before it left, the number of that page included.
        meet();
        if (lane == 0) takenPage = atomicAdd(nextPage, 1);
        meet();
        uint index = takenPage;
        if (index >= pageCountInBounds) return;
        status = DECODED;
        decode(pages[index]);
        if (lane == 0) statuses[index] = status;
    }
}
