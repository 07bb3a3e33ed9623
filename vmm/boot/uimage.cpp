// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/uimage.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <zlib.h>

#include "vmm/boot/byte_reader.h"
#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

// Header of a legacy image: 64 bytes, big-endian.
constexpr std::uint64_t header_bytes = 64;
constexpr std::uint64_t magic_at = 0;
constexpr std::uint64_t header_crc_at = 4;
constexpr std::uint64_t size_at = 12;
constexpr std::uint64_t load_at = 16;
constexpr std::uint64_t entry_at = 20;
constexpr std::uint64_t data_crc_at = 24;
constexpr std::uint64_t architecture_at = 29;
constexpr std::uint64_t type_at = 30;
constexpr std::uint64_t compression_at = 31;

constexpr std::uint32_t magic = 0x27051956;
constexpr std::uint8_t architecture_powerpc = 7;
constexpr std::uint8_t type_kernel = 2;
constexpr std::uint8_t type_multi = 4;
constexpr std::uint8_t compression_none = 0;
constexpr std::uint8_t compression_gzip = 1;

constexpr std::size_t inflate_step = std::size_t{1} << 20;

std::uint32_t crc_of(std::span<const std::uint8_t> bytes) {
    return static_cast<std::uint32_t>(::crc32_z(0, bytes.data(), bytes.size()));
}

class Inflater {
  public:
    explicit Inflater(const std::string& name) : name_(name) {
        constexpr int gzip_window = 16 + MAX_WBITS;
        if (::inflateInit2(&stream_, gzip_window) != Z_OK) throw Error(name_ + ": zlib cannot start");
    }
    ~Inflater() { ::inflateEnd(&stream_); }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    std::vector<std::uint8_t> run(std::span<const std::uint8_t> packed, std::uint64_t most_bytes) {
        std::vector<std::uint8_t> out;
        stream_.next_in = const_cast<Bytef*>(packed.data());
        stream_.avail_in = static_cast<uInt>(packed.size());
        for (;;) {
            const std::size_t done = out.size();
            // One byte more than allowed shows that there is too much.
            const auto room = static_cast<std::size_t>(std::min<std::uint64_t>(inflate_step, most_bytes - done + 1));
            out.resize(done + room);
            stream_.next_out = out.data() + done;
            stream_.avail_out = static_cast<uInt>(room);
            const int result = ::inflate(&stream_, Z_NO_FLUSH);
            out.resize(out.size() - stream_.avail_out);
            if (out.size() > most_bytes) {
                throw Error(fmt::format("{}: unpacks to more than the {} bytes of memory above its load address", name_,
                                        most_bytes));
            }
            if (result == Z_STREAM_END) return out;
            if (result == Z_BUF_ERROR || (result == Z_OK && stream_.avail_in == 0 && stream_.avail_out != 0)) {
                throw Error(name_ + ": the gzip data ends early");
            }
            if (result != Z_OK) {
                throw Error(fmt::format("{}: bad gzip data: {}", name_,
                                        stream_.msg != nullptr ? stream_.msg : fmt::format("error {}", result)));
            }
        }
    }

  private:
    const std::string& name_;
    z_stream stream_{};
};

} // namespace

bool looks_like_uimage(std::span<const std::uint8_t> bytes) { return ByteReader(bytes).be32(magic_at) == magic; }

UImage read_uimage(const std::string& name, std::span<const std::uint8_t> bytes, std::uint64_t memory_bytes) {
    const ByteReader reader(bytes);
    if (!looks_like_uimage(bytes)) throw Error(name + ": not a uImage");
    if (!reader.contains(0, header_bytes)) throw Error(name + ": truncated in the uImage header");

    std::array<std::uint8_t, header_bytes> header{};
    std::copy_n(bytes.begin(), header_bytes, header.begin());
    std::fill_n(header.begin() + header_crc_at, 4, std::uint8_t{0}); // the CRC is taken with its own field zero
    if (crc_of(header) != *reader.be32(header_crc_at)) throw Error(name + ": the uImage header's CRC is wrong");

    const unsigned architecture = header[architecture_at];
    if (architecture != architecture_powerpc) {
        throw Error(fmt::format("{}: a uImage for architecture {}, not for PowerPC ({})", name, architecture,
                                architecture_powerpc));
    }
    const unsigned type = header[type_at];
    if (type == type_multi) throw Error(name + ": a multi-component uImage, which untrap does not take apart");
    if (type != type_kernel) {
        throw Error(fmt::format("{}: a uImage of type {}, not a kernel ({})", name, type, type_kernel));
    }
    const std::uint32_t size = *reader.be32(size_at);
    if (!reader.contains(header_bytes, size)) {
        throw Error(fmt::format("{}: truncated: the uImage header promises {} bytes, the file has {} behind it", name,
                                size, bytes.size() - header_bytes));
    }
    const std::span<const std::uint8_t> data = reader.range(header_bytes, size);
    if (crc_of(data) != *reader.be32(data_crc_at)) throw Error(name + ": the uImage data's CRC is wrong");

    UImage image{.load_address = *reader.be32(load_at), .entry = *reader.be32(entry_at), .payload = {}};
    if (image.load_address >= memory_bytes) {
        throw Error(fmt::format("{}: its load address 0x{:08x} is beyond the memory of {} MiB", name,
                                image.load_address, memory_bytes >> 20));
    }
    const std::uint64_t room = memory_bytes - image.load_address;
    switch (header[compression_at]) {
    case compression_none:
        if (data.size() > room) {
            throw Error(fmt::format("{}: {} bytes at 0x{:08x} do not fit in the memory of {} MiB", name, data.size(),
                                    image.load_address, memory_bytes >> 20));
        }
        image.payload.assign(data.begin(), data.end());
        break;
    case compression_gzip: image.payload = Inflater(name).run(data, room); break;
    default:
        throw Error(fmt::format("{}: a uImage with compression {}; untrap unpacks none ({}) and gzip ({})", name,
                                header[compression_at], compression_none, compression_gzip));
    }
    if (image.payload.empty()) throw Error(name + ": the uImage holds no data");
    if (image.entry < image.load_address || image.entry - image.load_address >= image.payload.size()) {
        throw Error(fmt::format("{}: its entry point 0x{:08x} is outside the image at 0x{:08x}-0x{:08x}", name,
                                image.entry, image.load_address, image.load_address + image.payload.size() - 1));
    }
    return image;
}

} // namespace untrap::vmm
