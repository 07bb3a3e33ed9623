# SPDX-License-Identifier: GPL-2.0-only
set(UNTRAP_MEMORY_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/file_buffer.cpp
    ${CMAKE_CURRENT_LIST_DIR}/guest_memory.cpp
    ${CMAKE_CURRENT_LIST_DIR}/prefault.cpp)
