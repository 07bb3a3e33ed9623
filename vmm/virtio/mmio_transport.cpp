// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/mmio_transport.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace untrap::vmm {

namespace {

enum Register : std::uint64_t {
    magic_value = 0x000,
    version = 0x004,
    device_id = 0x008,
    vendor_id = 0x00c,
    device_features = 0x010,
    device_features_select = 0x014,
    driver_features = 0x020,
    driver_features_select = 0x024,
    queue_select = 0x030,
    queue_size_max = 0x034,
    queue_size = 0x038,
    queue_ready = 0x044,
    queue_notify = 0x050,
    interrupt_status = 0x060,
    interrupt_acknowledge = 0x064,
    status = 0x070,
    queue_descriptors_low = 0x080,
    queue_descriptors_high = 0x084,
    queue_driver_low = 0x090,
    queue_driver_high = 0x094,
    queue_device_low = 0x0a0,
    queue_device_high = 0x0a4,
    config_generation = 0x0fc,
    config_space = 0x100,
};

constexpr std::uint32_t magic = 0x74726976;  // "virt"
constexpr std::uint32_t vendor = 0x70727475; // "utrp"

constexpr std::uint32_t status_driver_ok = 0x04, status_features_ok = 0x08, status_needs_reset = 0x40,
                        status_driver_bits = 0x8f;
constexpr std::uint32_t interrupt_used = 1, interrupt_config = 2;

void set_low(std::uint64_t& word, std::uint32_t value) { word = (word & 0xffffffff00000000ull) | value; }
void set_high(std::uint64_t& word, std::uint32_t value) {
    word = (word & 0xffffffffull) | static_cast<std::uint64_t>(value) << 32;
}

} // namespace

MmioTransport::MmioTransport(VirtioDevice* device, IrqLine irq) : device_(device), irq_(std::move(irq)) {
    if (!device_) return;
    layouts_.resize(device_->queue_count());
    device_->set_event_handler([this](VirtioDevice::Event event) { on_event(event); });
}

MmioTransport::~MmioTransport() {
    if (device_) device_->set_event_handler({});
}

void MmioTransport::reset() {
    status_ = interrupt_status_ = 0;
    device_feature_select_ = driver_feature_select_ = 0;
    driver_features_ = 0;
    queue_select_ = 0;
    for (Virtqueue::Layout& layout : layouts_) layout = {};
    if (device_) device_->reset();
    update_irq();
}

void MmioTransport::update_irq() { irq_.set(interrupt_status_ != 0); }

void MmioTransport::on_event(VirtioDevice::Event event) {
    switch (event) {
    case VirtioDevice::Event::used_buffers: interrupt_status_ |= interrupt_used; break;
    case VirtioDevice::Event::config_changed:
        ++config_generation_;
        interrupt_status_ |= interrupt_config;
        break;
    case VirtioDevice::Event::needs_reset:
        status_ |= status_needs_reset;
        if (status_ & status_driver_ok) interrupt_status_ |= interrupt_config;
        break;
    }
    update_irq();
}

// Registers are little-endian 32-bit words; the configuration space is bytes. A big-endian access value has the byte
// at the lowest address on top.
std::uint64_t MmioTransport::read(std::uint64_t offset, unsigned size) {
    if (offset >= config_space) {
        std::array<std::uint8_t, 8> bytes{};
        if (device_) device_->read_config(offset - config_space, std::span(bytes).first(size));
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) value = value << 8 | bytes[i];
        return value;
    }
    if (size == 4 && offset % 4 == 0) return __builtin_bswap32(read_register(offset));
    if (odd_access_.first(offset << 4 | size))
        report(fmt::format("virtio-mmio: {}-byte load at register offset {:#x} reads 0", size, offset));
    return 0;
}

void MmioTransport::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (offset >= config_space) {
        std::array<std::uint8_t, 8> bytes{};
        for (unsigned i = size; i-- > 0; value >>= 8) bytes[i] = static_cast<std::uint8_t>(value & 0xff);
        if (device_) device_->write_config(offset - config_space, std::span(bytes).first(size));
        return;
    }
    if (size == 4 && offset % 4 == 0) {
        write_register(offset, __builtin_bswap32(static_cast<std::uint32_t>(value)));
        return;
    }
    if (odd_access_.first(offset << 4 | size | 1ull << 32))
        report(fmt::format("virtio-mmio: {}-byte store at register offset {:#x} is dropped", size, offset));
}

std::uint32_t MmioTransport::read_register(std::uint64_t offset) {
    switch (offset) {
    case magic_value: return magic;
    case version: return 2;
    case device_id: return device_ ? device_->device_id() : 0;
    case vendor_id: return vendor;
    default: break;
    }
    if (!device_) return 0;
    switch (offset) {
    case device_features:
        if (device_feature_select_ > 1) return 0;
        return static_cast<std::uint32_t>(device_->offered_features() >> (32 * device_feature_select_) & 0xffffffff);
    case queue_size_max: return queue_select_ < device_->queue_count() ? device_->queue(queue_select_).size_max() : 0;
    case queue_ready: return queue_select_ < device_->queue_count() && device_->queue(queue_select_).ready() ? 1 : 0;
    case interrupt_status: return interrupt_status_;
    case status: return status_;
    case config_generation: return config_generation_;
    default: return 0; // write only or reserved
    }
}

void MmioTransport::write_register(std::uint64_t offset, std::uint32_t value) {
    if (!device_) return;
    switch (offset) {
    case device_features_select: device_feature_select_ = value; return;
    case driver_features_select: driver_feature_select_ = value; return;
    case driver_features:
        if (status_ & status_features_ok) return; // settled
        if (driver_feature_select_ == 0) set_low(driver_features_, value);
        if (driver_feature_select_ == 1) set_high(driver_features_, value);
        return;
    case queue_select: queue_select_ = value; return;
    case queue_notify: device_->notify(value); return;
    case interrupt_acknowledge:
        interrupt_status_ &= ~value;
        update_irq();
        return;
    case status: write_status(value); return;
    default: break;
    }
    if (queue_select_ >= device_->queue_count()) return;
    if (offset == queue_ready) {
        write_queue_ready(value);
        return;
    }
    if (device_->queue(queue_select_).ready()) return; // a running queue keeps its place
    Virtqueue::Layout& layout = layouts_[queue_select_];
    switch (offset) {
    // A size beyond 16 bits must not wrap into a good one.
    case queue_size: layout.size = value > 0xffff ? 0 : static_cast<std::uint16_t>(value); break;
    case queue_descriptors_low: set_low(layout.descriptors, value); break;
    case queue_descriptors_high: set_high(layout.descriptors, value); break;
    case queue_driver_low: set_low(layout.driver_area, value); break;
    case queue_driver_high: set_high(layout.driver_area, value); break;
    case queue_device_low: set_low(layout.device_area, value); break;
    case queue_device_high: set_high(layout.device_area, value); break;
    default: break; // read only or reserved
    }
}

void MmioTransport::write_queue_ready(std::uint32_t value) {
    Virtqueue& queue = device_->queue(queue_select_);
    if (!(value & 1)) {
        queue.reset();
        return;
    }
    if (queue.ready() || device_->broken()) return;
    const bool indirect = (driver_features_ & virtio_feature::ring_indirect) != 0;
    const bool event_index = (driver_features_ & virtio_feature::ring_event_index) != 0;
    if (!queue.enable(layouts_[queue_select_], indirect, event_index)) device_->fail(queue.error());
}

void MmioTransport::write_status(std::uint32_t value) {
    if (value == 0) {
        reset();
        return;
    }
    std::uint32_t wanted = (status_ & status_needs_reset) | (value & status_driver_bits);
    // Refusing FEATURES_OK is how the device says that it cannot live with the driver's choice.
    if ((wanted & ~status_ & status_features_ok) &&
        ((driver_features_ & ~device_->offered_features()) || !(driver_features_ & virtio_feature::version_1)))
        wanted &= ~status_features_ok;
    const bool starts = (wanted & ~status_ & status_driver_ok) != 0;
    status_ = wanted;
    if (!starts) return;
    if (status_ & status_features_ok)
        device_->activate(driver_features_);
    else
        device_->fail("the driver starts it without agreeing on features");
}

} // namespace untrap::vmm
