// SPDX-License-Identifier: GPL-2.0-only
// Compares the interpreter with qemu-ppc's 440EP on random instruction sequences. Usage:
//   user_diff RUNNER [QEMU]
// UNTRAP_SEED repeats a run, UNTRAP_DIFF_INSTRUCTIONS sets its length. Exit status 0 when both agree, 1 when they
// differ, 2 when the comparison could not be made.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "tests/interp/user_diff/test_case.h"
#include "translator/fp/fpscr.h"

namespace untrap::user_diff {
namespace {

constexpr unsigned batch_size = 4096;
constexpr unsigned reports_wanted = 10;
constexpr std::uint64_t complete_run = 200'000;

using Bytes = std::vector<std::uint8_t>;

void put32(Bytes& bytes, std::uint32_t value) {
    for (unsigned shift = 32; shift != 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(value >> (shift - 8)));
}
void put64(Bytes& bytes, std::uint64_t value) {
    put32(bytes, static_cast<std::uint32_t>(value >> 32));
    put32(bytes, static_cast<std::uint32_t>(value));
}
std::uint32_t get32(const std::uint8_t* bytes) {
    std::uint32_t value = 0;
    for (unsigned byte = 0; byte < 4; ++byte) value = value << 8 | bytes[byte];
    return value;
}
std::uint64_t get64(const std::uint8_t* bytes) { return std::uint64_t{get32(bytes)} << 32 | get32(bytes + 4); }

void put_frame(Bytes& bytes, const Frame& frame) {
    const std::size_t start = bytes.size();
    for (const std::uint32_t value : frame.cpu.gpr) put32(bytes, value);
    put32(bytes, frame.cpu.cr());
    put32(bytes, frame.cpu.xer());
    put32(bytes, frame.cpu.lr);
    put32(bytes, frame.cpu.ctr);
    put32(bytes, 0); // signal
    put32(bytes, 0); // nip
    put32(bytes, frame.cpu.usprg0);
    put32(bytes, 0);
    put64(bytes, frame.cpu.fpscr);
    for (const std::uint64_t value : frame.cpu.fpr) put64(bytes, value);
    bytes.resize(start + FRAME_SCRATCH);
    bytes.insert(bytes.end(), frame.scratch.begin(), frame.scratch.end());
    if (bytes.size() != start + FRAME_SIZE) throw std::logic_error("frame layout");
}

Bytes batch_file(const std::vector<TestCase>& cases) {
    Bytes bytes;
    put32(bytes, static_cast<std::uint32_t>(cases.size()));
    put32(bytes, static_cast<std::uint32_t>(CODE_OFFSET + cases.size() * CASE_WORDS * 4));
    bytes.resize(CODE_OFFSET);
    for (const TestCase& test : cases) {
        put32(bytes, 0x80200000 | (FRAME + FRAME_CTR));     // lwz r1,ctr(0)
        put32(bytes, 0x7C2903A6);                           // mtctr r1
        put32(bytes, 0x80200000 | (FRAME + FRAME_GPR + 4)); // lwz r1,gpr1(0)
        for (const std::uint32_t word : test.words) put32(bytes, word);
        for (std::size_t slot = test.words.size(); slot <= max_instructions; ++slot)
            put32(bytes, 0x48000002 | TEXT); // ba TEXT
    }
    for (const TestCase& test : cases) put_frame(bytes, test.before);
    return bytes;
}

// A temporary file that is gone with the object.
class BatchFile {
  public:
    explicit BatchFile(const Bytes& bytes) {
        const char* folder = std::getenv("TMPDIR");
        path_ = std::string(folder != nullptr ? folder : "/tmp") + "/user_diff.XXXXXX";
        const int descriptor = mkstemp(path_.data());
        if (descriptor < 0) throw std::runtime_error("cannot make " + path_);
        const ssize_t written = write(descriptor, bytes.data(), bytes.size());
        close(descriptor);
        if (written < 0 || static_cast<std::size_t>(written) != bytes.size())
            throw std::runtime_error("cannot write " + path_);
    }
    ~BatchFile() { unlink(path_.c_str()); }
    BatchFile(const BatchFile&) = delete;
    BatchFile& operator=(const BatchFile&) = delete;
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

Bytes run_under_qemu(const std::string& qemu, const std::string& runner, const std::vector<TestCase>& cases) {
    const BatchFile file(batch_file(cases));
    const std::string command = fmt::format("timeout 60 '{}' -cpu 440epb '{}' < '{}'", qemu, runner, file.path());
    std::FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
    Bytes output(cases.size() * FRAME_SIZE + 1);
    output.resize(std::fread(output.data(), 1, output.size(), pipe));
    const int status = pclose(pipe);
    if (status != 0 || output.size() != cases.size() * FRAME_SIZE)
        throw std::runtime_error(fmt::format("{}: status {:#x} after {} of {} cases", command, status,
                                             output.size() / FRAME_SIZE, cases.size()));
    return output;
}

std::string differences(const TestCase& test, const std::uint8_t* got) {
    std::string text;
    const auto compare = [&](const std::string& name, std::uint64_t before, std::uint64_t ours, std::uint64_t theirs) {
        if (ours != theirs)
            text += fmt::format("    {:8} before {:#x}, untrap {:#x}, qemu {:#x}\n", name, before, ours, theirs);
    };
    const isa::CpuState& before = test.before.cpu;
    const isa::CpuState& after = test.after.cpu;
    for (unsigned number = 0; number < 32; ++number)
        compare(fmt::format("r{}", number), before.gpr[number], after.gpr[number], get32(got + FRAME_GPR + 4 * number));
    compare("cr", before.cr(), after.cr(), get32(got + FRAME_CR));
    compare("xer", before.xer(), after.xer(), get32(got + FRAME_XER));
    compare("lr", before.lr, after.lr, get32(got + FRAME_LR));
    compare("ctr", before.ctr, after.ctr, get32(got + FRAME_CTR));
    compare("usprg0", before.usprg0, after.usprg0, get32(got + FRAME_USPRG0));
    compare("signal", 0, test.after.signal, get32(got + FRAME_SIGNAL));
    compare("nip", 0, test.after.nip, get32(got + FRAME_NIP));
    compare("fpscr", before.fpscr, after.fpscr & ~fp::fpscr_fr, get32(got + FRAME_FPSCR + 4) & ~fp::fpscr_fr);
    for (unsigned number = 0; number < 32; ++number)
        compare(fmt::format("f{}", number), before.fpr[number], after.fpr[number], get64(got + FRAME_FPR + 8 * number));
    for (unsigned byte = 0; byte < SCRATCH_SIZE; ++byte)
        compare(fmt::format("[{:#x}]", scratch_address + byte), test.before.scratch[byte], test.after.scratch[byte],
                got[FRAME_SCRATCH + byte]);
    return text;
}

std::string listing(const TestCase& test) {
    std::string text;
    for (std::size_t slot = 0; slot < test.words.size(); ++slot) {
        if (test.words[slot] == nop) continue;
        const isa::Instruction insn = isa::decode(test.words[slot]);
        text += fmt::format("    {:08x}: {:08x} {:8} {},{},{} frc {}\n", test.address + 4 * slot, insn.word,
                            insn.info().mnemonic, insn.rt(), insn.ra(), insn.rb(), insn.frc());
        for (const unsigned number : {insn.rt(), insn.ra(), insn.rb()})
            text += fmt::format("        r{} {:08x} f{} {:016x}\n", number, test.before.cpu.gpr[number], number,
                                test.before.cpu.fpr[number]);
    }
    return text + fmt::format("    cr {:08x} xer {:08x} lr {:08x} ctr {:08x} fpscr {:08x}\n", test.before.cpu.cr(),
                              test.before.cpu.xer(), test.before.cpu.lr, test.before.cpu.ctr, test.before.cpu.fpscr);
}

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    if (text == nullptr) return otherwise;
    std::size_t used = 0;
    const std::uint64_t value = std::stoull(text, &used, 0);
    if (text[used] != '\0') throw std::invalid_argument(fmt::format("{}={}: not a number", name, text));
    return value;
}

std::string never_executed(const std::array<std::uint64_t, isa::op_count>& executions) {
    std::string names;
    for (std::size_t row = 0; row < isa::op_count; ++row) {
        const auto op = static_cast<isa::Op>(row);
        if (executions[row] == 0 && op != isa::Op::sc && op != isa::Op::mftb)
            names += fmt::format(" {}", isa::instruction_table[row].mnemonic);
    }
    return names;
}

int compare_all(const std::string& runner, const std::string& qemu) {
    const std::uint64_t seed = number_from_environment("UNTRAP_SEED", std::random_device{}());
    const std::uint64_t wanted = number_from_environment("UNTRAP_DIFF_INSTRUCTIONS", 250'000);
    fmt::print("seed {} (UNTRAP_SEED repeats it)\n", seed);
    std::fflush(stdout);
    Generator generator(seed);
    std::uint64_t executed = 0, made = 0, signals = 0;
    unsigned different = 0;
    std::array<std::uint64_t, isa::op_count> executions{};
    while (executed < wanted) {
        std::vector<TestCase> cases;
        for (unsigned number = 0; number < batch_size; ++number) cases.push_back(generator.make(number));
        const Bytes output = run_under_qemu(qemu, runner, cases);
        for (unsigned number = 0; number < batch_size; ++number) {
            const TestCase& test = cases[number];
            executed += test.executed.size();
            for (const isa::Op op : test.executed) ++executions[static_cast<std::size_t>(op)];
            signals += test.after.signal != 0;
            const std::string difference = differences(test, output.data() + std::size_t{number} * FRAME_SIZE);
            if (difference.empty()) continue;
            if (++different <= reports_wanted)
                fmt::print("case {} differs:\n{}{}", made + number, listing(test), difference);
        }
        made += batch_size;
    }
    fmt::print("{} instructions in {} sequences, {} of them ended by a signal: {} differ\n", executed, made, signals,
               different);
    // A comparison that misses instructions proves little. Short runs are for looking at one seed.
    const std::string missed = wanted >= complete_run ? never_executed(executions) : "";
    if (!missed.empty()) fmt::print("never executed:{}\n", missed);
    return different == 0 && missed.empty() ? 0 : 1;
}

} // namespace
} // namespace untrap::user_diff

int main(int argc, char** argv) {
    if (argc < 2 || argc > 3) {
        fmt::print(stderr, "usage: user_diff RUNNER [QEMU]\n");
        return 2;
    }
    try {
        return untrap::user_diff::compare_all(argv[1], argc > 2 ? argv[2] : "qemu-ppc");
    } catch (const std::exception& error) {
        fmt::print(stderr, "user_diff: {}\n", error.what());
        return 2;
    }
}
