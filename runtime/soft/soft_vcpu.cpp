// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/soft_vcpu.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "runtime/kvm/errno_values.h"
#include "runtime/kvm/exit_sites.h"
#include "runtime/kvm/exits.h"
#include "runtime/kvm/hot_sites.h"
#include "runtime/kvm/registers.h"
#include "runtime/soft/code_cache.h"
#include "runtime/soft/code_image.h"

namespace untrap::runtime::soft {

namespace registers = kvm_registers;

namespace {

// How soon a signal handler's write to immediate_exit is noticed by a waiting vCPU.
constexpr auto poll_interval = std::chrono::milliseconds(5);

// 2.5 ns per tick.
static_assert(abi::timebase_hz == 400'000'000);
constexpr std::uint64_t ticks_of(std::uint64_t nanoseconds) { return nanoseconds / 5 * 2 + nanoseconds % 5 * 2 / 5; }
constexpr std::uint64_t nanoseconds_of(std::uint64_t ticks) { return ticks / 2 * 5 + (ticks % 2 * 5 + 1) / 2; }

// What waits in the ring of coalesced MMIO waits for a thousandth of a second at most.
constexpr std::uint64_t drain_ticks = abi::timebase_hz / 1000;

abi::kvm_run* new_run_page() {
    void* page = ::operator new (SoftVcpu::run_bytes, std::align_val_t{SoftVcpu::page_bytes});
    std::memset(page, 0, SoftVcpu::run_bytes);
    return static_cast<abi::kvm_run*>(page);
}
static_assert(sizeof(abi::kvm_run) <= SoftVcpu::page_bytes);
static_assert(errno_values::eintr == EINTR && errno_values::einval == EINVAL);

} // namespace

SoftVcpu::SoftVcpu(std::shared_ptr<SoftVm> vm)
    : vm_(std::move(vm)), core_(vm_->memory, vm_->patches, *this), run_(new_run_page()) {
    auto* const pages = reinterpret_cast<std::byte*>(run_);
    vm_->device_pages.attach(reinterpret_cast<abi::kvm_coalesced_mmio_ring*>(pages + abi::vcpu_ring_page * page_bytes),
                             reinterpret_cast<abi::UntrapRegisters*>(pages + abi::vcpu_registers_page * page_bytes),
                             drain_ticks);
    core_.device_pages = &vm_->device_pages;
}

SoftVcpu::~SoftVcpu() {
    vm_->device_pages.attach(nullptr, nullptr, 0);
    ::operator delete (run_, std::align_val_t{page_bytes});
}

// -- host services
// -----------------------------------------------------------------------------------------------------

std::uint64_t SoftVcpu::now() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return ticks_of(static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count()));
}

void SoftVcpu::warn(const char* message, std::uint32_t pc, std::uint32_t word) {
    std::fprintf(stderr, "untrap: guest at 0x%08x: %s (0x%08x)\n", pc, message, word);
}

void SoftVcpu::wait(std::uint64_t until) {
    std::unique_lock lock(wait_mutex_);
    while (!core_.wake_requested() && !exit_asked() && !errands_pending_.load(std::memory_order_acquire)) {
        const std::uint64_t time = now();
        if (time >= until) return;
        const std::chrono::nanoseconds longest = poll_interval;
        const std::uint64_t ticks = std::min(until - time, ticks_of(static_cast<std::uint64_t>(longest.count())));
        woken_.wait_for(lock, std::chrono::nanoseconds(nanoseconds_of(ticks)));
    }
}

void SoftVcpu::between_slices() {
    if (exit_asked()) core_.request_stop();
    if (errands_pending_.load(std::memory_order_acquire)) run_errands();
    if (!vm_->has_written_ranges()) return;
    for (const abi::UntrapMemoryRange& range : vm_->take_written_ranges())
        core_.engine().memory_written(range.gpa, range.len);
}

bool SoftVcpu::exit_asked() const { return std::atomic_ref(run_->immediate_exit).load(std::memory_order_acquire) != 0; }

// -- KVM_RUN
// -----------------------------------------------------------------------------------------------------------

// Before the first instruction: what was configured takes effect. False if there is no engine to be had.
bool SoftVcpu::start() {
    if (engine_.engine != nullptr) return true;
    configuration_ = vm_->start();
    const VmConfiguration& configuration = configuration_;
    try {
        if (configuration.exit_sites != 0) {
            exit_site_memory_.resize(ExitSites::elements(configuration.exit_sites));
            exit_sites_.emplace(exit_site_memory_.data(), configuration.exit_sites);
            core_.exit_sites = &*exit_sites_;
        }
        engine_ = configuration.interpreter
                      ? make_interpreter_engine()
                      : make_jit_engine(core_, configuration.optimisations, configuration.translations);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "untrap: %s\n", error.what());
        return false;
    }
    vm_->patches.limit(configuration.most_patched, configuration.changes);
    vm_->patches.configure(configuration.levels, configuration.threshold);
    core_.set_clock(configuration.clock, configuration.pace_idle);
    core_.set_engine(*engine_.engine);
    return true;
}

int SoftVcpu::run() {
    if (!start()) return -ENOMEM;
    kvm_exits::complete_access(core_, *run_);
    // The access that userspace was asked for is finished first, then the request to leave is honoured.
    if (exit_asked()) core_.request_stop();
    try {
        return kvm_exits::report(core_, core_.run(), *run_);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "untrap: %s\n", error.what());
        return -EIO;
    }
}

// -- other ioctls
// ------------------------------------------------------------------------------------------------------

int SoftVcpu::change_memory(const std::function<int()>& change) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return -EBUSY;
    const int result = change();
    if (engine_.engine != nullptr) engine_.engine->flush();
    return result;
}

int SoftVcpu::at_rest(const std::function<int()>& work) {
    if (const std::unique_lock lock(mutex_, std::try_to_lock); lock.owns_lock()) return work();
    Errand errand{work};
    std::unique_lock waiting(wait_mutex_);
    errands_.push_back(&errand);
    errands_pending_.store(true, std::memory_order_release);
    woken_.notify_all();
    // KVM_RUN may end without having seen it.
    while (!errand_done_.wait_for(waiting, std::chrono::milliseconds(1), [&] { return errand.done; })) {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock()) continue;
        std::erase(errands_, &errand);
        errands_pending_.store(!errands_.empty(), std::memory_order_release);
        return work();
    }
    return errand.result;
}

void SoftVcpu::run_errands() {
    const std::lock_guard guard(wait_mutex_);
    for (Errand* errand : errands_) {
        errand->result = errand->work();
        errand->done = true;
    }
    errands_.clear();
    errands_pending_.store(false, std::memory_order_release);
    errand_done_.notify_all();
}

void SoftVcpu::dirty_log_taken() {
    if (engine_.engine != nullptr) engine_.engine->dirty_log_taken();
}

int SoftVcpu::interrupt(const abi::kvm_interrupt& request) {
    switch (request.irq) {
    case abi::interrupt_set: core_.pulse_external(); break;
    case abi::interrupt_set_level: core_.set_interrupt_line(false, true); break;
    case abi::interrupt_unset: core_.set_interrupt_line(false, false); break;
    default: return -EINVAL;
    }
    const std::lock_guard guard(wait_mutex_); // not between the waiter's look at the line and its sleep
    woken_.notify_all();
    return 0;
}

void SoftVcpu::get_stats(abi::UntrapStats& stats) const {
    static_assert(exit_reason_count <= abi::untrap_exit_slots);
    stats = {};
    stats.guest_instructions = core_.state.retired;
    stats.exits_total = core_.exits.total;
    std::ranges::copy(core_.exits.by_reason, stats.exits);
    stats.patched_sites = vm_->patches.patched_sites();
    stats.known_sites = vm_->patches.patched_by_knowledge();
    stats.left_alone_pages = vm_->patches.pages_left_alone();
    if (engine_.engine == nullptr) return;
    const EngineStatistics engine = engine_.statistics();
    stats.translated_blocks = engine.translated_blocks;
    stats.shadow_refills = engine.shadow_refills;
}

int SoftVcpu::get_exit_sites(abi::UntrapExitSites& request) const {
    auto* to = reinterpret_cast<abi::UntrapExitSite*>(request.sites);
    return to != nullptr ? kvm_exit_sites::read(core_, request, to) : -EFAULT;
}

int SoftVcpu::get_translations(abi::UntrapTranslations& request) const {
    const std::uint64_t room = request.bytes;
    request.bytes = 0;
    const CodeCache* translations = engine_.translations;
    if (translations == nullptr || translations->translated() == 0) return 0;
    const std::uint64_t bytes = translations->packed_bytes();
    request.bytes = bytes;
    if (room < bytes) return -E2BIG;
    auto* to = reinterpret_cast<std::uint8_t*>(request.image);
    if (to == nullptr) return -EFAULT;
    translations->pack(to, code_image::key(configuration_.optimisations, configuration_.levels));
    return 0;
}

int SoftVcpu::get_hot_sites(abi::UntrapHotSites& request) const {
    auto* to = reinterpret_cast<abi::UntrapHotSite*>(request.sites);
    return to != nullptr ? kvm_hot_sites::read(core_, request, to) : -EFAULT;
}

int SoftVcpu::ioctl(std::uint32_t request, void* arg) {
    switch (request) {
    case abi::ioctl_interrupt:
        return arg != nullptr ? interrupt(*static_cast<const abi::kvm_interrupt*>(arg)) : -EFAULT;
    case abi::ioctl_run:
    case abi::ioctl_get_regs:
    case abi::ioctl_set_regs:
    case abi::ioctl_get_sregs:
    case abi::ioctl_set_sregs:
    case abi::ioctl_get_fpu:
    case abi::ioctl_set_fpu:
    case abi::ioctl_get_one_reg:
    case abi::ioctl_set_one_reg:
    case abi::ioctl_get_reg_list:
    case abi::ioctl_translate:
    case abi::ioctl_get_mp_state:
    case abi::ioctl_set_mp_state:
    case abi::ioctl_set_guest_debug:
    case abi::untrap_get_stats:
    case abi::untrap_get_exit_sites:
    case abi::untrap_get_hot_sites:
    case abi::untrap_get_translations: break;
    default: return -ENOTTY;
    }
    if (request == abi::ioctl_run) {
        if (arg != nullptr) return -EINVAL;
    } else if (arg == nullptr) {
        return -EFAULT;
    }
    const std::lock_guard guard(mutex_);
    return locked_ioctl(request, arg);
}

namespace {

// The value of KVM_GET_ONE_REG and KVM_SET_ONE_REG lies at an address of its own, in the size that the identifier
// tells.
int get_one_reg(Vcpu& core, const abi::kvm_one_reg& request) {
    std::uint64_t value = 0;
    if (const int result = registers::get_one(core, request.id, value); result != 0) return result;
    auto* where = reinterpret_cast<void*>(request.addr);
    if (where == nullptr) return -EFAULT;
    if (abi::reg_size_bytes(request.id) == sizeof(std::uint32_t)) {
        const auto word = static_cast<std::uint32_t>(value);
        std::memcpy(where, &word, sizeof word);
    } else {
        std::memcpy(where, &value, sizeof value);
    }
    return 0;
}

int set_one_reg(Vcpu& core, const abi::kvm_one_reg& request) {
    const std::size_t size = abi::reg_size_bytes(request.id);
    if (size != sizeof(std::uint32_t) && size != sizeof(std::uint64_t)) return -EINVAL;
    const auto* where = reinterpret_cast<const void*>(request.addr);
    if (where == nullptr) return -EFAULT;
    std::uint64_t value = 0;
    std::uint32_t word = 0;
    if (size == sizeof word) {
        std::memcpy(&word, where, sizeof word);
        value = word;
    } else {
        std::memcpy(&value, where, sizeof value);
    }
    return registers::set_one(core, request.id, value);
}

// The identifiers follow the structure.
int list_registers(abi::kvm_reg_list& list) {
    const std::uint64_t room = list.n;
    list.n = registers::register_count();
    if (room < list.n) return -E2BIG;
    auto* to = reinterpret_cast<unsigned char*>(&list + 1);
    for (unsigned index = 0; index < registers::register_count(); ++index) {
        const std::uint64_t id = registers::register_id(index);
        std::memcpy(to + index * sizeof id, &id, sizeof id);
    }
    return 0;
}

} // namespace

int SoftVcpu::locked_ioctl(std::uint32_t request, void* arg) {
    switch (request) {
    case abi::ioctl_run: return run();
    case abi::ioctl_get_regs: registers::get(core_, *static_cast<abi::kvm_regs*>(arg)); return 0;
    case abi::ioctl_set_regs: registers::set(core_, *static_cast<const abi::kvm_regs*>(arg)); return 0;
    case abi::ioctl_get_sregs: registers::get(core_, *static_cast<abi::kvm_sregs*>(arg)); return 0;
    case abi::ioctl_set_sregs: return registers::set(core_, *static_cast<const abi::kvm_sregs*>(arg));
    case abi::ioctl_get_fpu: registers::get(core_, *static_cast<abi::kvm_fpu*>(arg)); return 0;
    case abi::ioctl_set_fpu: registers::set(core_, *static_cast<const abi::kvm_fpu*>(arg)); return 0;
    case abi::ioctl_get_one_reg: return get_one_reg(core_, *static_cast<const abi::kvm_one_reg*>(arg));
    case abi::ioctl_set_one_reg: return set_one_reg(core_, *static_cast<const abi::kvm_one_reg*>(arg));
    case abi::ioctl_get_reg_list: return list_registers(*static_cast<abi::kvm_reg_list*>(arg));
    case abi::ioctl_translate: registers::translate(core_, *static_cast<abi::kvm_translation*>(arg)); return 0;
    case abi::ioctl_get_mp_state:
        static_cast<abi::kvm_mp_state*>(arg)->mp_state = registers::get_mp_state(core_);
        return 0;
    case abi::ioctl_set_mp_state:
        return registers::set_mp_state(core_, static_cast<const abi::kvm_mp_state*>(arg)->mp_state);
    case abi::ioctl_set_guest_debug:
        return registers::set_guest_debug(core_, *static_cast<const abi::kvm_guest_debug*>(arg));
    case abi::untrap_get_stats: get_stats(*static_cast<abi::UntrapStats*>(arg)); return 0;
    case abi::untrap_get_exit_sites: return get_exit_sites(*static_cast<abi::UntrapExitSites*>(arg));
    case abi::untrap_get_translations: return get_translations(*static_cast<abi::UntrapTranslations*>(arg));
    case abi::untrap_get_hot_sites: return get_hot_sites(*static_cast<abi::UntrapHotSites*>(arg));
    default: return -ENOTTY;
    }
}

} // namespace untrap::runtime::soft
