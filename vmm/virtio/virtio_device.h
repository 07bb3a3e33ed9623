// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vmm/virtio/virtqueue.h"

namespace untrap::vmm {

namespace virtio_feature {
inline constexpr std::uint64_t ring_indirect = 1ull << 28;
inline constexpr std::uint64_t ring_event_index = 1ull << 29;
inline constexpr std::uint64_t version_1 = 1ull << 32;
} // namespace virtio_feature

/// What all virtio devices share, whatever the transport. The transport calls the virtual functions; the device calls
/// the protected ones. Machine lock held throughout.
class VirtioDevice {
  public:
    enum class Event { used_buffers, config_changed, needs_reset };

    virtual ~VirtioDevice() = default;
    VirtioDevice(const VirtioDevice&) = delete;
    VirtioDevice& operator=(const VirtioDevice&) = delete;

    std::uint32_t device_id() const { return device_id_; }
    const std::string& name() const { return name_; }
    /// All feature bits on offer, the ring's included.
    std::uint64_t offered_features() const;
    unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
    Virtqueue& queue(unsigned index) { return queues_[index]; }

    /// Device configuration space, bytes as they lie in memory (little-endian fields). Beyond its end: zeros.
    virtual void read_config(std::uint64_t offset, std::span<std::uint8_t> out) const;
    virtual void write_config(std::uint64_t offset, std::span<const std::uint8_t> bytes);

    void set_event_handler(std::function<void(Event)> handler) { handler_ = std::move(handler); }

    // The transport's side.
    void activate(std::uint64_t accepted_features);
    void notify(unsigned queue_index);
    void reset();
    bool active() const { return active_; }
    bool broken() const { return broken_; }
    /// Stops the device: one line is reported and the driver sees DEVICE_NEEDS_RESET.
    void fail(const char* why);

  protected:
    VirtioDevice(const GuestMemory& memory, std::uint32_t device_id, std::string name, std::uint64_t features,
                 std::initializer_list<std::uint16_t> queue_sizes);

    /// The driver put buffers into a queue (or woke it for another reason). Only while active and not broken.
    virtual void handle_queue(unsigned queue_index) = 0;
    virtual void handle_activate() {}
    virtual void handle_reset() {}
    /// Bytes of the configuration space; they must live as long as the device.
    virtual std::span<const std::uint8_t> config() const { return {}; }

    const GuestMemory& memory() const { return memory_; }
    bool has_feature(std::uint64_t bit) const { return (accepted_ & bit) != 0; }
    /// pop() that turns a broken ring into fail(). True: `chain` is valid.
    bool take(unsigned queue_index, Chain& chain);
    /// push() likewise.
    bool give_back(unsigned queue_index, const Chain& chain, std::uint64_t written);
    /// Interrupts the driver if it wants to hear of the buffers given back.
    void signal(unsigned queue_index);
    void signal_config_change();

  private:
    const GuestMemory& memory_;
    std::uint32_t device_id_;
    std::string name_;
    std::uint64_t features_;
    std::uint64_t accepted_ = 0;
    std::vector<Virtqueue> queues_;
    std::function<void(Event)> handler_;
    bool active_ = false;
    bool broken_ = false;
};

} // namespace untrap::vmm
