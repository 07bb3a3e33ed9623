// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

namespace untrap::vmm {

/// Bad input from the user (file, interface name, size) found while the machine is put together. what() is one line.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Where report() lines go; each call gets one line without a newline.
using ReportSink = std::function<void(std::string_view line)>;

/// Replaces the sink (default: stderr, with the prefix "untrap: " and a newline). An empty function restores the
/// default. Returns the previous sink. A raw terminal wants its own. Not thread-safe against report().
ReportSink set_report_sink(ReportSink sink);

/// Says one line about something the guest or the host did that the user should know.
void report(std::string_view line);

/// Says something once per key, and at most `limit` different things: a guest cannot flood the terminal.
/// The line that reaches the limit says that the rest stays silent.
class ReportOnce {
  public:
    explicit ReportOnce(unsigned limit = 32) : limit_(limit) {}

    /// True when this key is new and within the limit: the caller then formats and reports.
    /// Keys beyond the limit are not stored.
    bool first(std::uint64_t key);

  private:
    unsigned limit_;
    std::set<std::uint64_t> seen_;
};

} // namespace untrap::vmm
