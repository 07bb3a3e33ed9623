# SPDX-License-Identifier: GPL-2.0-only
# Needs libslirp at link time (header slirp/libslirp.h, library slirp).
set(UNTRAP_VIRTIO_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/block.cpp
    ${CMAKE_CURRENT_LIST_DIR}/console.cpp
    ${CMAKE_CURRENT_LIST_DIR}/mmio_transport.cpp
    ${CMAKE_CURRENT_LIST_DIR}/net.cpp
    ${CMAKE_CURRENT_LIST_DIR}/rng.cpp
    ${CMAKE_CURRENT_LIST_DIR}/slirp_backend.cpp
    ${CMAKE_CURRENT_LIST_DIR}/tap_backend.cpp
    ${CMAKE_CURRENT_LIST_DIR}/virtio_device.cpp
    ${CMAKE_CURRENT_LIST_DIR}/virtqueue.cpp)
