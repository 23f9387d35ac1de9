# The floors: what Debian 12 ships, all we build on. Configuring fails with the reason when a
# library is older. third_party/README.md says for each why it was chosen.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED COMPONENTS Crypto SSL)

# need(NAME MODULE FLOOR REASON): an imported target foreign::NAME whose headers are SYSTEM.
function(need name module floor reason)
  pkg_check_modules(${name} IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "${module} is missing: ${reason}")
  endif()
  if(${name}_VERSION VERSION_LESS ${floor})
    message(FATAL_ERROR "${module} ${${name}_VERSION} is older than ${floor}: ${reason}")
  endif()
  # msgpack-c.pc of Debian 13 has the relative folder "include", which CMake refuses; the folder that
  # is meant is on the compiler's own path.
  set(folders "${${name}_INCLUDE_DIRS}")
  list(FILTER folders INCLUDE REGEX "^/")
  set_target_properties(PkgConfig::${name} PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${folders}" INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${folders}")
  add_library(foreign::${name} ALIAS PkgConfig::${name})
endfunction()

# Debian 13 calls the same module msgpack-c.
pkg_search_module(msgpack_any QUIET msgpack-c msgpack)
set(msgpack_module "${msgpack_any_MODULE_NAME}")
if(NOT msgpack_module)
  set(msgpack_module msgpack)
endif()

need(uv libuv 1.44 "the event loop; 1.44 reports a reset descriptor through uv_poll as UV_EBADF")
need(pq libpq 15 "pipeline mode came with 14; 15 is what the tests run against")
need(curl libcurl 7.88 "curl_multi_socket_action and CURLMOPT_MAX_HOST_CONNECTIONS as tested")
need(cjson libcjson 1.7.15 "small configuration documents, never data")
need(msgpack ${msgpack_module} 4.0 "the capture file; tested with it")
need(isal libisal 2.30 "gzip at level 1 at more than 300 MB/s a core")
need(zstd libzstd 1.5.4 "the other compression that COPY reads")
need(microhttpd libmicrohttpd 0.9.75 "an epoll set of its own that another loop can watch, without threads")
need(ssh2 libssh2 1.10 "the SSH tunnel; keys from memory, ed25519 and host key hashes by SHA-256")
