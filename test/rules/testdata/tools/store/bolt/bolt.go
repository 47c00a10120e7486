package bolt

import (
	"C"         // found
	"io/ioutil" // found
	"log"       // found
	"log/slog"
	"math/rand" // found
	"os/exec"   // found
	"testing"   // found
	"unsafe"    // found
)
