package ort

// #cgo linux LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stdint.h>
// #include <stdlib.h>
//
// // The head of the runtime's C interface, whose two entries never change.
// typedef struct {
//   const void *(*api)(uint32_t version);
//   const char *(*version)(void);
// } ort_base;
//
// static const ort_base *base_of(void *entry) {
//   return ((const ort_base *(*)(void))entry)();
// }
// static const char *version_of(const ort_base *b) { return b->version(); }
// static int speaks(const ort_base *b, uint32_t version) { return b->api(version) != NULL; }
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// inspectLibrary loads the library and returns its version. It is done before
// the binding loads the same file, because the binding can neither say which
// version was too old nor tell a foreign library from a broken one.
//
// The handle is kept on purpose: the library stays mapped for the life of the
// process, also while no Engine lives. Unmapping a C++ library whose threads
// have run is asking for trouble, and a second load then costs nothing.
func inspectLibrary(path string) (version string, err error) {
	handle, err := open(path)
	if err != nil {
		return "", fmt.Errorf("%w: load %s: %w; %s", ErrNoLibrary, path, err, remedy)
	}
	name := C.CString("OrtGetApiBase")
	defer C.free(unsafe.Pointer(name))
	entry := C.dlsym(handle, name)
	if entry == nil {
		return "", fmt.Errorf("%w: %s is another library, it has no OrtGetApiBase; %s", ErrNoLibrary, path, remedy)
	}
	base := C.base_of(entry)
	if base == nil {
		return "", fmt.Errorf("%w: %s does not answer; %s", ErrNoLibrary, path, remedy)
	}
	version = C.GoString(C.version_of(base))
	if C.speaks(base, APIVersion) == 0 {
		return version, fmt.Errorf("%w: %s is version %s, but API %d is needed, so at least version 1.%d; %s",
			ErrOldLibrary, path, version, APIVersion, APIVersion, remedy)
	}
	return version, nil
}

// open loads a shared library for good; the error is the loader's, which names
// the file that is missing.
func open(path string) (unsafe.Pointer, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	// The loader keeps its last error per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	handle := C.dlopen(name, C.RTLD_LAZY|C.RTLD_LOCAL)
	if handle == nil {
		return nil, errors.New(C.GoString(C.dlerror()))
	}
	return handle, nil
}
