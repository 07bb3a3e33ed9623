// SPDX-License-Identifier: GPL-2.0-only
#include <array>
#include <capstone/capstone.h>
#include <fmt/format.h>

#include "vmm/devices/diagnostics.h"
#include "vmm/report/disassembly.h"

namespace untrap::vmm {
namespace {

class Capstone {
  public:
    Capstone() {
        constexpr auto mode = static_cast<cs_mode>(CS_MODE_32 | static_cast<int>(CS_MODE_BIG_ENDIAN));
        if (const cs_err error = cs_open(CS_ARCH_PPC, mode, &handle_); error != CS_ERR_OK) {
            throw Error(fmt::format("capstone: {}", cs_strerror(error)));
        }
    }
    ~Capstone() { cs_close(&handle_); }
    Capstone(const Capstone&) = delete;
    Capstone& operator=(const Capstone&) = delete;

    std::string text(std::uint32_t word, std::uint32_t address) const {
        const std::array<std::uint8_t, 4> bytes{static_cast<std::uint8_t>(word >> 24),
                                                static_cast<std::uint8_t>(word >> 16),
                                                static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
        cs_insn* found = nullptr;
        if (cs_disasm(handle_, bytes.data(), bytes.size(), address, 1, &found) != 1) return "";
        std::string text = found->mnemonic;
        if (found->op_str[0] != 0) text += fmt::format(" {}", found->op_str);
        cs_free(found, 1);
        return text;
    }

  private:
    csh handle_ = 0;
};

} // namespace

std::string disassemble_unprivileged(std::uint32_t word, std::uint32_t address) {
    static const Capstone capstone;
    const std::string text = capstone.text(word, address);
    return !text.empty() ? text : fmt::format(".long 0x{:08x}", word);
}

} // namespace untrap::vmm
