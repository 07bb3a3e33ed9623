// SPDX-License-Identifier: GPL-2.0-only
// How much host code the JIT makes of typical guest code: counts are kept in expected_code.txt, and a change of any is
// shown. Usage: expected_code_test FILE [--update]
#include <capstone/capstone.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "translator/x64/block.h"
#include "translator/x64/layout.h"

namespace {

using namespace untrap;

struct Counts {
    unsigned blocks = 0;       // the sequence and what follows a block in it
    unsigned instructions = 0; // of the host, where they run often
    std::size_t bytes = 0;     // of these
    std::size_t cold = 0;      // bytes that run rarely
    bool operator==(const Counts&) const = default;
};

// A line of the file: "name | context | assembler text | words | blocks instructions bytes cold".
struct Sequence {
    std::string name, context, text, words;
    Counts expected;
};

std::string trimmed(const std::string& text) {
    const auto first = text.find_first_not_of(' ');
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

bool parse(const std::string& line, Sequence& sequence) {
    std::vector<std::string> columns;
    std::istringstream stream(line);
    for (std::string column; std::getline(stream, column, '|');) columns.push_back(trimmed(column));
    if (columns.size() < 4 || columns[3].empty()) return false;
    sequence = {columns[0], columns[1], columns[2], columns[3], {}};
    if (columns.size() > 4) {
        Counts& counts = sequence.expected;
        std::istringstream(columns[4]) >> counts.blocks >> counts.instructions >> counts.bytes >> counts.cold;
    }
    return true;
}

std::string row(const Sequence& sequence, const Counts& counts) {
    return fmt::format("{} | {} | {} | {} | {} {} {} {}", sequence.name, sequence.context, sequence.text,
                       sequence.words, counts.blocks, counts.instructions, counts.bytes, counts.cold);
}

// Everything that finds its way into code is the same in each run: a fixed address, fixed features of the host.
class Counter {
  public:
    Counter() {
        constexpr std::uintptr_t where = 0x2000'0000'0000; // free with AddressSanitizer too
        void* memory = ::mmap(reinterpret_cast<void*>(where), room, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (memory == MAP_FAILED || cs_open(CS_ARCH_X86, CS_MODE_64, &disassembler_) != CS_ERR_OK) {
            std::perror("expected_code: no memory at its address, or no disassembler");
            std::exit(2);
        }
        base_ = static_cast<std::uint8_t*>(memory);
        x64::Thunks thunks;
        std::uint64_t next = where + room;
        for (std::uint64_t* thunk : {&thunks.exit, &thunks.interpret, &thunks.access, &thunks.reach, &thunks.trapped,
                                     &thunks.write_tlb, &thunks.switch_context, &thunks.decode_cr, &thunks.gather_cr})
            *thunk = next += 64;
        thunks.fp.host = {.avx = true, .fma = true, .avx512 = false};
        for (std::uint64_t* thunk : {&thunks.fp.load, &thunks.fp.save, &thunks.fp.constants}) *thunk = thunks.exit;
        emitter_ = std::make_unique<x64::BlockEmitter>(thunks, x64::Optimisations(), x64::HostFeatures{});
    }
    ~Counter() { cs_close(&disassembler_); }
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;

    bool count(const Sequence& sequence, Counts& counts) {
        std::vector<std::uint32_t> words;
        std::istringstream stream(sequence.words);
        for (std::uint32_t word; stream >> std::hex >> word;) words.push_back(word);
        x64::BlockSource source;
        source.mode = x64::mode::global | x64::mode::fp;
        source.mapped = sequence.context == "mapped";
        if (source.mapped || sequence.context == "user") source.mode |= x64::mode::pr;
        unsigned level = 0;
        std::sscanf(sequence.context.c_str(), "level %u", &level);
        // A sequence is a page of its own; behind it the block ends by a system call.
        constexpr std::uint32_t ea = 0xC0010000;
        constexpr std::uint32_t system_call = 0x44000002;
        source.link_first = ea;
        source.link_last = ea + 0xFFFF;
        const auto at = [&](std::uint32_t pc) {
            const std::size_t index = (pc - ea) / 4;
            return index < words.size() ? words[index] : system_call;
        };
        counts = {};
        for (std::uint32_t start = ea; start < ea + 4 * words.size();) {
            source.ea = start;
            x64::form_block(source, x64::Optimisations(),
                            [&](std::uint32_t pc, isa::Instruction& insn, plan::Patch& patch) {
                                insn = isa::decode(at(pc));
                                patch = {};
                                if ((source.mode & x64::mode::pr) != 0 || !insn.privileged()) return;
                                patch = plan::make_patch(&insn.word, 1, (2U << level) - 2);
                            });
            const x64::EmittedBlock& block = emitter_->emit(source, base_, room, 0);
            if (block.size == 0) return false;
            ++counts.blocks;
            counts.instructions += instructions(block.cold);
            counts.bytes += block.cold;
            counts.cold += block.size - block.cold;
            // On behind all that this block holds, loops and paths included.
            std::uint32_t last = start;
            for (unsigned i = 0; i < source.total; ++i) last = std::max(last, source.pc[i]);
            start = last + 4;
        }
        return true;
    }

  private:
    unsigned instructions(std::size_t bytes) {
        cs_insn* list = nullptr;
        const std::size_t count =
            cs_disasm(disassembler_, base_, bytes, reinterpret_cast<std::uint64_t>(base_), 0, &list);
        cs_free(list, count);
        return static_cast<unsigned>(count);
    }

    static constexpr std::size_t room = 1 << 20;
    csh disassembler_ = 0;
    std::uint8_t* base_ = nullptr;
    std::unique_ptr<x64::BlockEmitter> emitter_;
};

} // namespace

int main(int argc, char** argv) {
    const bool update = argc == 3 && std::string(argv[2]) == "--update";
    if (argc < 2 || (argc > 2 && !update)) {
        std::fputs("usage: expected_code_test FILE [--update]\n", stderr);
        return 2;
    }
    std::ifstream file(argv[1]);
    std::string text;
    Counter counter;
    unsigned sequences = 0, changed = 0;
    long before = 0, after = 0;
    for (std::string line; std::getline(file, line);) {
        Sequence sequence;
        if (line.empty() || line.starts_with('#')) {
            text += line + '\n';
            continue;
        }
        Counts counts;
        if (!parse(line, sequence) || !counter.count(sequence, counts)) {
            fmt::print("no sequence: {}\n", line);
            return 2;
        }
        ++sequences;
        text += row(sequence, counts) + '\n';
        if (counts == sequence.expected) continue;
        if (changed++ == 0)
            fmt::print("{:24} {:>14} {:>14} {:>14}   {}\n", "sequence", "instructions", "bytes", "cold bytes",
                       "guest code");
        const Counts& old = sequence.expected;
        before += old.instructions;
        after += counts.instructions;
        const auto pair = [](auto from, auto to) {
            return from == to ? fmt::format("{}", to) : fmt::format("{} -> {}", from, to);
        };
        fmt::print("{:24} {:>14} {:>14} {:>14}   {}\n", sequence.name, pair(old.instructions, counts.instructions),
                   pair(old.bytes, counts.bytes), pair(old.cold, counts.cold), sequence.text);
    }
    if (sequences == 0) {
        fmt::print("{}: no sequences\n", argv[1]);
        return 2;
    }
    fmt::print("{} sequences, {} changed", sequences, changed);
    if (changed != 0) fmt::print("; host instructions of these {} -> {}", before, after);
    fmt::print("\n");
    if (changed == 0) return 0;
    if (!update) {
        fmt::print("if that is meant: expected_code_test {} --update\n", argv[1]);
        return 1;
    }
    std::ofstream(argv[1]) << text;
    return 0;
}
