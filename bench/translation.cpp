// SPDX-License-Identifier: GPL-2.0-only
// How fast guest code becomes host code: the kernel's text, block by block from its first instruction on, by the
// translator alone (choosing the path, emitting it; no tables, no running). Prints JSON: guest instructions and
// seconds, for plain translations and for those of code that runs often.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

#include "translator/x64/block.h"
#include "translator/x64/layout.h"
#include "vmm/boot/elf32.h"
#include "vmm/boot/input_file.h"

namespace {

using namespace untrap;

constexpr std::size_t arena_bytes = std::size_t{64} << 20, block_room = 128 * 1024;
// A megabyte: a second's work for the slower of the two.
constexpr std::size_t most_text = std::size_t{1} << 20;
constexpr std::uint32_t page_mask = 0xFFFFF000;

struct Text {
    std::uint32_t address;
    std::span<const std::uint8_t> bytes;
    std::uint32_t word(std::uint32_t ea) const {
        const std::uint8_t* at = bytes.data() + (ea - address);
        return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 | at[3];
    }
};

// Whole pages of the largest executable section.
Text text_of(const vmm::Elf32& kernel) {
    Text text{0, {}};
    for (const vmm::ElfSection& section : kernel.sections()) {
        if (!section.executable || section.bytes.size() <= text.bytes.size()) continue;
        const std::uint32_t first = (section.address + ~page_mask) & page_mask;
        const std::size_t skipped = first - section.address;
        if (skipped >= section.bytes.size()) continue;
        text = {first,
                section.bytes.subspan(skipped, std::min(most_text, (section.bytes.size() - skipped) & page_mask))};
    }
    return text;
}

struct Work {
    std::uint64_t blocks = 0, instructions = 0, bytes = 0;
    double seconds = 0;
};

class Translator {
  public:
    Translator() {
        void* memory =
            ::mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        base_ = static_cast<std::uint8_t*>(memory);
        x64::EnterFunction enter = nullptr;
        used_ = x64::emit_thunks({}, x64::FpHost::detect({}), base_, arena_bytes, enter, thunks_);
    }
    ~Translator() { ::munmap(base_, arena_bytes); }
    Translator(const Translator&) = delete;
    Translator& operator=(const Translator&) = delete;

    Work translate(const Text& text, bool plainly) const {
        const x64::Optimisations all, chosen = plainly ? x64::plain(all) : all;
        x64::BlockEmitter emitter(thunks_, chosen);
        x64::BlockSource source;
        source.mode = x64::mode::global;
        source.link_first = text.address;
        source.link_last = text.address + static_cast<std::uint32_t>(text.bytes.size()) - 1;
        Work work;
        std::size_t at = used_;
        const auto start = std::chrono::steady_clock::now();
        for (std::uint32_t ea = text.address; ea - text.address < text.bytes.size();) {
            source.ea = ea;
            x64::form_block(source, all, [&text](std::uint32_t pc, isa::Instruction& insn, plan::Patch& patch) {
                insn = isa::decode(text.word(pc));
                patch = {};
            });
            if (plainly) x64::cut_path(source);
            if (arena_bytes - at < block_room) at = used_;
            const x64::EmittedBlock& emitted = emitter.emit(source, base_ + at, arena_bytes - at, 0);
            at += (emitted.size + 15) & ~std::size_t{15};
            ++work.blocks;
            work.instructions += source.length;
            work.bytes += emitted.size;
            // On behind what the block has in a row.
            for (unsigned i = 0; i < source.length && source.pc[i] == ea; ++i) ea += 4;
        }
        work.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return work;
    }

  private:
    std::uint8_t* base_ = nullptr;
    std::size_t used_ = 0;
    x64::Thunks thunks_;
};

void print(const char* name, const Work& work, const char* end) {
    std::printf("\"%s\":{\"blocks\":%llu,\"guest_instructions\":%llu,\"host_bytes\":%llu,\"seconds\":%.6f}%s", name,
                static_cast<unsigned long long>(work.blocks), static_cast<unsigned long long>(work.instructions),
                static_cast<unsigned long long>(work.bytes), work.seconds, end);
}

} // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fputs("usage: translation_rate VMLINUX\n", stderr);
        return 2;
    }
    try {
        const auto file = vmm::read_input_file("kernel", arguments[1], std::uint64_t{1} << 30);
        const Text text = text_of(vmm::Elf32(arguments[1], file.bytes()));
        const Translator translator;
        translator.translate(text, true); // what is cold at first is warm then
        std::putchar('{');
        print("plain", translator.translate(text, true), ",");
        print("optimised", translator.translate(text, false), "}\n");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "translation_rate: %s\n", error.what());
        return 2;
    }
    return 0;
}
