# Read by CMake at llama.cpp's project() call. llama-cpp-python forces LLAMA_BUILD_COMMON into the cache, but its Python
# package uses nothing of llama.cpp's `common`; a normal variable hides the cached one. Build time: a third.
set(LLAMA_BUILD_COMMON OFF)
