// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/machine.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <optional>
#include <span>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "vmm/devices/diagnostics.h"
#include "vmm/machine/board.h"
#include "vmm/machine/code_cache_file.h"
#include "vmm/machine/console.h"
#include "vmm/machine/io_thread.h"
#include "vmm/machine/kvm_vm.h"
#include "vmm/machine/peak_memory.h"
#include "vmm/machine/register_dump.h"
#include "vmm/machine/site_cache_file.h"
#include "vmm/machine/stop_request.h"
#include "vmm/machine/terminal.h"
#include "vmm/memory/prefault.h"

namespace untrap::vmm {
namespace {

// Whether something may arrive on stdin at a time of its own: a file and /dev/null are just there.
bool stdin_is_live() {
    struct stat status {};
    if (::fstat(STDIN_FILENO, &status) != 0) return false;
    return ::isatty(STDIN_FILENO) == 1 || S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode);
}

// What this process has run so far.
double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// 0 for what is no file.
std::uint64_t file_bytes(const std::string& path) {
    std::error_code none;
    const std::uintmax_t bytes = std::filesystem::file_size(path, none);
    return none ? 0 : bytes;
}

class Machine {
  public:
    Machine(const MachineOptions& machine, const RunOptions& options)
        : Machine(machine, options, open_host(machine.host)) {}

  private:
    Machine(const MachineOptions& machine, const RunOptions& options, std::unique_ptr<KvmBackend> host)
        : options_(options), ram_(memory_.add_region(0, machine.memory_mib << 20, false,
                                                     host->guest_memory_file(machine.memory_mib << 20))),
          prefault_(host->guest_memory_in_small_pages() ? std::span(ram_.host, static_cast<std::size_t>(ram_.size))
                                                        : std::span<std::uint8_t>(),
                    file_bytes(machine.boot.kernel)),
          vm_(std::move(host), machine, machine.net != NetKind::none || (options.console_input && stdin_is_live()),
              options.want_statistics, options.want_exit_sites),
          console_(STDOUT_FILENO, options.until, stop_, options.marks), board_(machine, memory_, wires()) {
        vm_.add_memory(memory_.regions());
        memory_.set_write_observer([this](std::uint64_t gpa, std::uint64_t bytes) { vm_.memory_written(gpa, bytes); });
        share_registers();
        if (machine.patch && !machine.site_cache.empty()) {
            site_cache_.emplace(machine.site_cache);
            vm_.set_known_sites(site_cache_->sites());
        }
        if (!machine.code_cache.empty()) {
            code_cache_.emplace(machine.code_cache);
            code_cache_->give(vm_);
        }
        stop_.attach(&vm_.run_page(), ::pthread_self());
        const MachineDescription description{.memory_bytes = ram_.size,
                                             .command_line = machine.command_line,
                                             .initrd = {},
                                             .virtio = board_.virtio_slots(),
                                             .timebase_hz = vm_.timebase_hz()};
        vm_.set_boot_registers(boot_guest(machine.boot, description, memory_));
    }

  public:
    RunResult run() {
        RunResult result;
        result.host = vm_.host_name();
        result.levels = vm_.levels();
        {
            const RawTerminal terminal(options_.console_input ? STDIN_FILENO : -1);
            IoThread io(board_, lock_, console_, stop_, options_);
            start_ = std::chrono::steady_clock::now();
            cpu_start_ = cpu_seconds();
            try {
                run_loop(result);
            } catch (const std::exception& error) {
                result.end = RunEnd::host_failed;
                result.message = error.what();
            }
            result.wall_seconds = seconds();
            if (stop_.cause() == StopCause::io_failed) result.message = io.failure();
        }
        console_.flush();
        if (result.end == RunEnd::guest_died) result.message += fmt::format("\n{}", register_dump(vm_, memory_));
        result.statistics = vm_.statistics();
        if (options_.want_exit_sites) result.exit_sites = vm_.exit_sites();
        if (site_cache_) site_cache_->save(vm_.hot_sites());
        if (code_cache_) code_cache_->save(vm_);
        result.guest_resident_bytes = resident_bytes(ram_.host, ram_.size);
        result.peak_rss_bytes = peak_rss_bytes();
        return result;
    }

  private:
    // Lines come when they end, and the text that ends the run when it is complete.
    void share_registers() {
        abi::UntrapRegisters* page = vm_.device_registers();
        if (page == nullptr) return;
        std::string ends = "\n";
        if (!options_.until.empty()) ends += options_.until.back();
        board_.share_registers(*page, ends);
        for (const board::MmioSlot* uart : {&board::uart0, &board::uart1}) vm_.coalesce(uart->base, 1);
    }

    Board::Wires wires() {
        return {.external_interrupt = [this](bool asserted) { vm_.set_external_interrupt(asserted); },
                .console = console_,
                .power_off = [this] { stop_.request(StopCause::power_off); }};
    }

    void run_loop(RunResult& result) {
        for (;;) {
            // The stop is looked at between exits too: a text printed by this very exit ends the run here, at the same
            // guest instruction every time.
            if (stop_.requested()) return stopped(result);
            const int status = vm_.run();
            if (vm_.has_stores()) make_stores();
            if (status == -EINTR || status == -EAGAIN) continue;
            if (status < 0) {
                result.end = RunEnd::host_failed;
                result.message = fmt::format("host {}: KVM_RUN: {}", vm_.host_name(), std::strerror(-status));
                return;
            }
            const bool going_on = handle_exit(result);
            if (!options_.marks.empty()) note_marks(result);
            if (!going_on) return;
        }
    }

    double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

    void note_marks(RunResult& result) {
        for (std::string& text : console_.take_marks()) {
            result.marks.push_back({.text = std::move(text),
                                    .seconds = seconds(),
                                    .cpu_seconds = cpu_seconds() - cpu_start_,
                                    .statistics = vm_.statistics()});
        }
    }

    // False: the run is over and `result` says how.
    bool handle_exit(RunResult& result) {
        abi::kvm_run& run = vm_.run_page();
        switch (run.exit_reason) {
        case abi::exit_mmio: handle_mmio(run.mmio); return true;
        case abi::exit_dcr: handle_dcr(run.dcr); return true;
        case abi::exit_intr: return true;
        case abi::exit_shutdown: return ended(result);
        case abi::exit_system_event:
            if (run.system_event.type == abi::system_event_crash) return died(result, "the guest reported a crash");
            return ended(result);
        case abi::exit_watchdog: return died(result, "the guest's watchdog ran out");
        case abi::exit_internal_error: {
            const std::string reason = internal_error_reason(run);
            return died(result, reason.empty() ? "the guest cannot go on" : reason);
        }
        case abi::exit_debug:
            return died(result, fmt::format("debug exit at 0x{:08x} with no debugger", run.debug.arch.address));
        case abi::exit_fail_entry:
            return died(result, fmt::format("the host cannot enter the guest, reason 0x{:x}",
                                            run.fail_entry.hardware_entry_failure_reason));
        default: return died(result, fmt::format("unexpected exit {} of the host", run.exit_reason));
        }
    }

    bool ended(RunResult& result) {
        result.end = RunEnd::guest_ended;
        if (!options_.until.empty()) {
            result.message = fmt::format("the guest ended without printing \"{}\"", options_.until);
        }
        return false;
    }

    bool died(RunResult& result, const std::string& why) {
        result.end = RunEnd::guest_died;
        result.message = fmt::format("guest died: {}", why);
        return false;
    }

    // The devices take numbers as a big-endian CPU sees them; the bytes lie as they do in memory.
    void make_store(std::uint64_t address, unsigned size, const std::uint8_t* data) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) value = value << 8 | data[i];
        board_.bus().write(address, size, value);
    }

    // What the host kept came before the access that ended the run. Bytes to one address are a text.
    void make_stores() {
        const std::lock_guard guard(lock_);
        std::array<std::uint8_t, abi::coalesced_mmio_max> text;
        std::size_t length = 0;
        std::uint64_t address = 0;
        const auto print = [&] {
            if (length != 0) board_.bus().write_bytes(address, std::span(text).first(length));
            length = 0;
        };
        vm_.take_stores([&](const abi::kvm_coalesced_mmio& store) {
            if (store.len != 1 || store.phys_addr != address || length == text.size()) print();
            if (store.len == 1) {
                address = store.phys_addr;
                text[length++] = store.data[0];
            } else {
                make_store(store.phys_addr, store.len <= sizeof store.data ? store.len : 0, store.data);
            }
        });
        print();
    }

    void handle_mmio(abi::kvm_exit_mmio& access) {
        const std::lock_guard guard(lock_);
        const unsigned size = access.len <= sizeof access.data ? access.len : 0;
        if (access.is_write != 0) {
            make_store(access.phys_addr, size, access.data);
        } else {
            std::uint64_t value = board_.bus().read(access.phys_addr, size);
            for (unsigned i = size; i-- > 0; value >>= 8) access.data[i] = static_cast<std::uint8_t>(value);
        }
    }

    void handle_dcr(abi::kvm_exit_dcr& access) {
        const std::lock_guard guard(lock_);
        if (access.is_write != 0) {
            board_.dcrs().write(access.dcrn, access.data);
        } else {
            access.data = board_.dcrs().read(access.dcrn);
        }
    }

    void stopped(RunResult& result) {
        switch (stop_.cause()) {
        case StopCause::none:
        case StopCause::power_off: ended(result); return;
        case StopCause::until_seen: result.end = RunEnd::until_seen; return;
        case StopCause::timeout:
            result.end = RunEnd::timed_out;
            result.message = fmt::format("timed out after {} seconds", *options_.timeout);
            return;
        case StopCause::quit_key:
            result.end = RunEnd::quit_key;
            result.message = "ended by Ctrl-A X";
            return;
        case StopCause::signal:
            result.end = RunEnd::signal;
            result.signal = stop_.detail();
            result.message = fmt::format("ended by signal {} ({})", stop_.detail(), ::strsignal(stop_.detail()));
            return;
        case StopCause::console_lost:
            result.end = RunEnd::console_lost;
            result.message = fmt::format("console output: {}", std::strerror(console_.failure()));
            return;
        case StopCause::io_failed: result.end = RunEnd::host_failed; return; // the I/O thread has the message
        }
    }

    const RunOptions& options_;
    MachineLock lock_;
    StopRequest stop_;
    GuestMemory memory_; // outlives the VM, which maps it
    GuestMemory::Region ram_;
    Prefault prefault_;
    KvmVm vm_;
    std::optional<SiteCacheFile> site_cache_;
    std::optional<CodeCacheFile> code_cache_;
    ConsoleOutput console_;
    Board board_;
    std::chrono::steady_clock::time_point start_;
    double cpu_start_ = 0;
};

} // namespace

int RunResult::exit_status() const {
    switch (end) {
    case RunEnd::guest_ended:
    case RunEnd::until_seen:
    case RunEnd::quit_key: return 0;
    case RunEnd::timed_out: return 124;
    case RunEnd::signal: return 128 + signal;
    case RunEnd::guest_died:
    case RunEnd::console_lost:
    case RunEnd::host_failed: break;
    }
    return 1;
}

RunResult run_machine(const MachineOptions& machine, const RunOptions& options) {
    reset_peak_rss();
    Machine built(machine, options);
    if (!options.announcement.empty()) report(options.announcement);
    return built.run();
}

} // namespace untrap::vmm
