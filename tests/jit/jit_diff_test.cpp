// SPDX-License-Identifier: GPL-2.0-only
// Random programs on the interpreter and on the JIT: after every piece of a run, the trap and all registers are equal,
// at the end all of memory.
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <vector>

#include "optimisation_cases.h"
#include "run_random.h"
#include "runtime/soft/code_image.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using mmu::TlbEntry;

constexpr std::uint32_t code_base = 0x10000000, code_end = 0x1001C000;
constexpr std::uint32_t data_base = 0x20000000, data_end = 0x20030000;
constexpr std::uint8_t process = 5;

constexpr std::uint32_t all_rw = TlbEntry::ur | TlbEntry::uw | TlbEntry::sr | TlbEntry::sw;
constexpr std::uint32_t all_rx = TlbEntry::ur | TlbEntry::ux | TlbEntry::sr | TlbEntry::sx;

constexpr unsigned size_1k = 0, size_4k = 1, size_16k = 2, size_64k = 3;

TlbEntry mapping(std::uint32_t ea, unsigned size, std::uint64_t real, std::uint32_t attributes, unsigned space = 0,
                 std::uint8_t tid = 0) {
    TlbEntry entry;
    entry.word0 = ea | TlbEntry::valid_bit | (space != 0 ? TlbEntry::ts_bit : 0) | size << 4;
    entry.word1 = static_cast<std::uint32_t>(real & 0xFFFFFC00) | static_cast<std::uint32_t>(real >> 32);
    entry.word2 = attributes;
    entry.tid = tid;
    return entry;
}

// A fixed address space with every kind of page, neighbours in EA being no neighbours in real memory.
std::vector<TlbEntry> address_space() {
    std::vector<TlbEntry> map;
    const auto frame = [](unsigned number) { return Layout::data + std::uint64_t{number} * 0x1000; };
    const auto code = [](unsigned number) { return Layout::code + std::uint64_t{number} * 0x1000; };
    map.push_back(mapping(code_base, size_64k, code(0), all_rx));
    map.push_back(mapping(code_base, size_64k, code(0), all_rx, 1));
    for (unsigned i = 0; i < 4; ++i)
        map.push_back(mapping(code_base + 0x10000 + i * 0x1000, size_4k, code(19 - i), all_rx));
    map.push_back(mapping(code_base + 0x14000, size_4k, code(20), all_rx | TlbEntry::attr_e));
    for (unsigned i = 0; i < 4; ++i)
        map.push_back(mapping(code_base + 0x15000 + i * 0x400, size_1k, code(21) + (3 - i) * 0x400, all_rx));
    map.push_back(mapping(code_base + 0x16000, size_4k, code(23), all_rx, 0, process));
    map.push_back(mapping(code_base + 0x17000, size_4k, code(22), all_rx, 0, process));
    map.push_back(mapping(code_base + 0x18000, size_16k, code(24), all_rx, 0, process));

    const auto page = [&](unsigned number, unsigned of_frame, std::uint32_t attributes, std::uint8_t tid = 0) {
        map.push_back(mapping(data_base + number * 0x1000, size_4k, frame(of_frame), attributes, 0, tid));
    };
    page(0, 40, all_rw);
    page(1, 3, all_rw, process);
    page(2, 7, all_rw | TlbEntry::attr_e);
    page(3, 5, all_rw);
    page(4, 9, TlbEntry::ur | TlbEntry::sr);
    map.push_back(mapping(data_base + 0x5000, size_1k, frame(11), all_rw));
    map.push_back(mapping(data_base + 0x5400, size_1k, frame(2) + 0x800, TlbEntry::ur | TlbEntry::sr));
    map.push_back(mapping(data_base + 0x5C00, size_1k, frame(12) + 0x400, all_rw));
    page(6, 13, all_rw);
    map.push_back(mapping(data_base + 0x7000, size_4k, Layout::hole + 0x3000, all_rw));
    page(8, 15, all_rw);
    map.push_back(mapping(data_base + 0x9000, size_4k, Layout::rom + 0x1000, all_rw));
    map.push_back(mapping(data_base + 0xA000, size_4k, Layout::high + 0x4000, all_rw));
    page(11, 16, TlbEntry::sr | TlbEntry::sw);
    page(12, 17, TlbEntry::ur | TlbEntry::uw);
    page(14, 3, all_rw);                       // another view of page 1
    page(15, 18, TlbEntry::uw | TlbEntry::sw); // write-only
    map.push_back(mapping(data_base + 0x10000, size_64k, frame(48), all_rw));
    map.push_back(mapping(data_base + 0x20000, size_16k, frame(20), all_rw));
    map.push_back(mapping(data_base + 0x24000, size_16k, frame(24), all_rw | TlbEntry::attr_e));
    map.push_back(mapping(0xFFFFF000, size_4k, frame(28), all_rw));
    map.push_back(mapping(0x00000000, size_4k, frame(29), all_rw));
    map.push_back(mapping(0xFFFF8000, size_4k, frame(30), TlbEntry::sr | TlbEntry::sw));
    // The other data space.
    map.push_back(mapping(data_base, size_64k, frame(32), all_rw, 1));
    map.push_back(mapping(data_base + 0x10000, size_64k, frame(16), all_rw | TlbEntry::attr_e, 1));
    return map;
}

std::uint32_t random_pointer(Random& random) {
    std::uint32_t address = data_base + random.below(data_end - data_base);
    if (random.chance(3)) address = random.pick<std::uint32_t>({0, 0xFFFFFFFC, 0xFFFFF000, 0xFFFF8000, 0xFFF});
    if (random.chance(40)) address = data_base + random.below(16) * 0x1000 + random.below(0x1000);
    if (random.chance(15)) address = (address & ~0xFFFU) + 0x1000 - random.below(24); // near the end of a page
    return random.chance(60) ? address & ~3U : address;
}

namespace code_image = runtime::soft::code_image;
using code_image::Verdict;
constexpr std::uint64_t image_key = 440;

class Programs {
  public:
    Programs(Pair& pair, Random& random) : pair_(pair), random_(random) {}

    // Times an instruction of this row was generated.
    unsigned generated(isa::Op op) const { return generated_[static_cast<std::size_t>(op)]; }

    struct Program {
        std::uint32_t ea = 0;
        unsigned length = 0;
        RegisterUse use;
    };

    // Writes a new program to somewhere in the code area.
    Program make() {
        Program program;
        program.length = random_.between(8, 60);
        program.ea = code_base + random_.below((code_end - code_base - 256) / 4) * 4;
        if (random_.chance(25))
            program.ea = code_base + random_.between(1, (code_end - code_base) / 0x1000 - 1) * 0x1000 -
                         random_.between(1, program.length) * 4;
        program.use = RegisterUse::random(random_, 0);
        CodeGenerator generator(random_, program.use);
        const std::vector<std::uint32_t> words = generator.program(program.length);
        for (unsigned i = 0; i < program.length; ++i) {
            write(program.ea + 4 * i, words[i]);
            ++generated_[static_cast<std::size_t>(isa::decode(words[i]).op)];
        }
        return program;
    }

  private:
    void write(std::uint32_t ea, std::uint32_t word) {
        const mmu::Translation at = pair_.reference.vcpu().tlb.translate(ea, 0, process, false, mmu::Access::fetch);
        if (at.status != mmu::Translation::Status::ok) FAIL("code is not mapped");
        pair_.both([&](Machine& machine) { machine.write_word(at.real, word, at.little_endian); });
    }

    Pair& pair_;
    Random& random_;
    std::array<unsigned, isa::op_count + 1> generated_{};
};

// image: translations to begin with, if there are any, and afterwards those there are. Blocks that were translated.
std::uint64_t random_programs(std::uint64_t salt, std::uint64_t goal, std::size_t cache_bytes,
                              x64::Optimisations optimisations = translating_at_once,
                              std::vector<std::uint8_t>* image = nullptr) {
    Random random = seeded_random(salt);
    auto pair = std::make_unique<Pair>(cache_bytes, optimisations);
    if (image != nullptr && !image->empty()) REQUIRE(pair->jit.jit_engine().take_translations(*image));
    const std::vector<TlbEntry> map = address_space();
    REQUIRE(map.size() <= mmu::GuestTlb::entry_count);
    pair->both([&](Machine& machine) {
        for (unsigned i = 0; i < map.size(); ++i) machine.vcpu().set_tlb_entry(i, map[i]);
    });
    for (auto* bytes : {&pair->reference.data, &pair->reference.rom, &pair->reference.high})
        for (auto& byte : *bytes) byte = static_cast<std::uint8_t>(random.word());
    pair->jit.data = pair->reference.data;
    pair->jit.rom = pair->reference.rom;
    pair->jit.high = pair->reference.high;

    Programs programs(*pair, random);
    std::vector<Programs::Program> resident;
    for (unsigned i = 0; i < 48; ++i) resident.push_back(programs.make());
    for (std::uint64_t number = 0; pair->executed() < goal; ++number) {
        auto& program = resident[random.below(48)];
        if (random.chance(30)) program = programs.make();
        isa::CpuState state = random_state(random, program.use, [&] { return random_pointer(random); });
        if (random.chance(50)) state.lr = program.ea + random.below(program.length) * 4;
        state.page.msr = random_msr(random, 15);
        // In the other instruction space there is only the first 64 KB of code.
        state.page.pid = random.chance(85) ? process : random.below(4);
        state.pc = program.ea + (random.chance(30) ? random.below(program.length) * 4 : 0);
        state.retired = pair->reference.state().retired;
        pair->both([&](Machine& machine) { machine.set_state(state); });
        const std::string context = "program " + std::to_string(number);
        run_in_pieces(*pair, random, random.between(20, 400), context);
        pair->compare_memory(context);
    }
    for (std::size_t op = 0; goal >= 1'000'000 && op <= isa::op_count; ++op) {
        INFO("instruction " << isa::instruction_table[op].mnemonic);
        CHECK(programs.generated(static_cast<isa::Op>(op)) >= 5);
    }
    const runtime::soft::CodeCache& translations = pair->jit.jit_engine().translations();
    if (image != nullptr) {
        image->resize(translations.packed_bytes());
        translations.pack(image->data(), image_key);
    }
    return translations.translated();
}

} // namespace

TEST_CASE("random programs behave the same on the JIT and the interpreter", "[diff]") {
    random_programs(1, instruction_goal(1'000'000), runtime::soft::JitEngine::default_cache_bytes);
}

TEST_CASE("a code cache that is always full changes nothing", "[diff]") {
    random_programs(2, instruction_goal(200'000), 256 << 10);
}

TEST_CASE("translations of another machine change nothing but the time they take", "[diff][image]") {
    constexpr std::size_t cache_bytes = 128 << 20;
    for (const x64::Optimisations optimisations : {translating_at_once, x64::Optimisations()}) {
        std::vector<std::uint8_t> image;
        const std::uint64_t first = random_programs(4, 20'000, cache_bytes, optimisations, &image);
        REQUIRE(code_image::examine(image, image_key) == Verdict::good);
        const std::uint64_t again = random_programs(4, 20'000, cache_bytes, optimisations, &image);
        CHECK(first > 1000);
        CHECK(again < first / 20);
        REQUIRE(code_image::examine(image, image_key) == Verdict::good);
    }
}

TEST_CASE("an image of translations that is damaged, cut off or another program's is found out", "[image]") {
    std::vector<std::uint8_t> image;
    random_programs(5, 1'000, 8 << 20, {}, &image);
    Random random = seeded_random(6);
    CHECK(code_image::examine(image, image_key + 1) == Verdict::foreign);
    CHECK(code_image::examine(image, 0) == Verdict::foreign);
    for (unsigned i = 0; i < 1000; ++i) {
        // The header's every bit, others at random.
        const std::size_t bit =
            i < 8 * sizeof(code_image::Header) ? i : random.below(static_cast<std::uint32_t>(8 * image.size()));
        image[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
        CHECK(code_image::examine(image, image_key) != Verdict::good);
        image[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
        const std::size_t length = random.below(static_cast<std::uint32_t>(image.size()));
        CHECK(code_image::examine({image.data(), length}, image_key) == Verdict::damaged);
    }
    CHECK(code_image::examine(image, image_key) == Verdict::good);
    // Records that no cache writes, under whatever checksum.
    unsigned taken = 0;
    for (unsigned i = 0; i < 300; ++i) {
        std::vector<std::uint8_t> wrong = image;
        code_image::Header header;
        std::memcpy(&header, wrong.data(), sizeof(header));
        const std::size_t records = sizeof(header) + header.blocks * sizeof(code_image::BlockRecord);
        for (unsigned k = 0; k < 3; ++k)
            wrong[random.below(static_cast<std::uint32_t>(records))] = static_cast<std::uint8_t>(random.word());
        Machine machine(Machine::Kind::jit, 8 << 20);
        if (machine.jit_engine().take_translations(wrong)) ++taken;
    }
    CHECK(taken < 300);
    const auto key = code_image::key({}, 0);
    CHECK(key != 0);
    CHECK(key == code_image::key({}, 0));
    CHECK(key != code_image::key({}, 2));
    CHECK(key != code_image::key(translating_at_once, 0));
}

TEST_CASE("random programs behave the same without each optimisation", "[diff][optimisations]") {
    for (const auto& [name, disabled] : optimisation_cases()) {
        INFO("without " << name);
        random_programs(3, instruction_goal(40'000), 2 << 20, disabled);
    }
}
