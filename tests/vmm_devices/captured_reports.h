// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm::test {

/// Collects report lines instead of printing them, while it lives.
class CapturedReports {
  public:
    CapturedReports() : previous_(set_report_sink([this](std::string_view line) { lines_.emplace_back(line); })) {}
    ~CapturedReports() { set_report_sink(std::move(previous_)); }
    CapturedReports(const CapturedReports&) = delete;
    CapturedReports& operator=(const CapturedReports&) = delete;

    const std::vector<std::string>& lines() const { return lines_; }
    void clear() { lines_.clear(); }
    bool mentions(std::string_view text) const {
        return std::any_of(lines_.begin(), lines_.end(),
                           [text](const std::string& line) { return line.find(text) != std::string::npos; });
    }

  private:
    std::vector<std::string> lines_;
    ReportSink previous_;
};

} // namespace untrap::vmm::test
