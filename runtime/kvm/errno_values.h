// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// Error numbers of Linux, the same on x86 and PowerPC: the core has no <cerrno>.
namespace untrap::runtime::errno_values {

inline constexpr int enoent = 2;
inline constexpr int eintr = 4;
inline constexpr int eio = 5;
inline constexpr int e2big = 7;
inline constexpr int enomem = 12;
inline constexpr int ebusy = 16;
inline constexpr int eexist = 17;
inline constexpr int enodev = 19;
inline constexpr int einval = 22;
inline constexpr int enospc = 28;

} // namespace untrap::runtime::errno_values
