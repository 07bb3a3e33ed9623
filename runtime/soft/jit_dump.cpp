// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/jit_dump.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace untrap::runtime::soft {

namespace {

constexpr std::uint32_t magic = 0x4A695444, version = 1, machine_x86_64 = 62;
enum Record : std::uint32_t { code_load = 0, code_debug_info = 2 };

std::uint64_t now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

// Bytes of a record, in the host's order.
class Bytes {
  public:
    template <typename T>
    Bytes& operator<<(T value) {
        return add(&value, sizeof(value));
    }
    Bytes& add(const void* from, std::size_t size) {
        bytes_.append(static_cast<const char*>(from), size);
        return *this;
    }
    // The second word of a record, and of the header the third, is its size.
    void write(int file, unsigned size_at) {
        const auto size = static_cast<std::uint32_t>(bytes_.size());
        std::memcpy(bytes_.data() + size_at, &size, sizeof(size));
        // A dump that is cut off is still one: a full disk does not end the guest.
        [[maybe_unused]] const ssize_t written = ::write(file, bytes_.data(), bytes_.size());
    }

  private:
    std::string bytes_;
};

} // namespace

std::unique_ptr<JitDump> JitDump::from_environment() {
    const char* directory = std::getenv("UNTRAP_JITDUMP");
    if (directory == nullptr) return nullptr;
    const std::string pid = std::to_string(getpid());
    const std::string dump_name = std::string(directory) + "/jit-" + pid + ".dump";
    const int dump = open(dump_name.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
    if (dump < 0) {
        std::fprintf(stderr, "untrap: UNTRAP_JITDUMP: cannot write %s: %s\n", dump_name.c_str(), std::strerror(errno));
        return nullptr;
    }
    const std::string map_name = "/tmp/perf-" + pid + ".map";
    const int map = open(map_name.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    return std::unique_ptr<JitDump>(new JitDump(dump, map));
}

JitDump::JitDump(int dump, int map) : dump_(dump), map_(map) {
    Bytes header;
    header << magic << version << std::uint32_t{0} << machine_x86_64 << std::uint32_t{0}
           << static_cast<std::uint32_t>(getpid()) << now() << std::uint64_t{0};
    header.write(dump_, 8);
    mark_ =
        mmap(nullptr, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_READ | PROT_EXEC, MAP_PRIVATE, dump_, 0);
}

JitDump::~JitDump() {
    if (mark_ != MAP_FAILED) munmap(mark_, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
    close(dump_);
    if (map_ >= 0) close(map_);
}

void JitDump::shared_code(const std::uint8_t* bytes, std::size_t size) { code("untrap shared code", bytes, size); }

void JitDump::block(const x64::BlockSource& source, const x64::EmittedBlock& emitted, const std::uint8_t* bytes) {
    constexpr char file[] = "guest";
    Bytes lines;
    lines << code_debug_info << std::uint32_t{0} << now() << reinterpret_cast<std::uint64_t>(bytes)
          << std::uint64_t{source.total};
    for (unsigned i = 0; i < source.total; ++i) {
        lines << reinterpret_cast<std::uint64_t>(bytes) + emitted.starts[i] << source.pc[i] << std::uint32_t{0};
        lines.add(file, sizeof(file));
    }
    lines.write(dump_, 4);
    char name[40];
    std::snprintf(name, sizeof(name), "guest %08x mode %x", source.ea, source.mode);
    code(name, bytes, emitted.size);
}

void JitDump::code(const char* name, const std::uint8_t* bytes, std::size_t size) {
    const auto pid = static_cast<std::uint32_t>(getpid());
    const auto address = reinterpret_cast<std::uint64_t>(bytes);
    Bytes record;
    record << code_load << std::uint32_t{0} << now() << pid << static_cast<std::uint32_t>(gettid()) << address
           << address << std::uint64_t{size} << count_++;
    record.add(name, std::strlen(name) + 1).add(bytes, size);
    record.write(dump_, 4);
    if (map_ >= 0) dprintf(map_, "%llx %zx %s\n", static_cast<unsigned long long>(address), size, name);
}

} // namespace untrap::runtime::soft
