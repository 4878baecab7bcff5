# Read by CMake at llama.cpp's project() call.

# llama-cpp-python forces LLAMA_BUILD_COMMON into the cache, but its Python package uses nothing of llama.cpp's `common`;
# a normal variable hides the cached one. Build time: a third.
set(LLAMA_BUILD_COMMON OFF)

# No AMX. GCC before 14 tells its optimizer that _tile_loadconfig reads 8 of the 64 bytes it is given, so the rest of
# ggml's tile configuration is never stored: a fault of protection at the first product of an odd shape. Its products
# also round otherwise than those of a single row, which --exact could not promise away.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  include(CheckCXXCompilerFlag)
  foreach(feature IN ITEMS amx-tile amx-int8 amx-bf16)
    check_cxx_compiler_flag("-mno-${feature}" "CGCLI_NO_${feature}")
    if(CGCLI_NO_${feature})
      add_compile_options("-mno-${feature}")
    endif()
  endforeach()
endif()
