package bolt

import (
	"os/exec"
	"testing"
	"unsafe" // found
)
