package netns

import (
	"os/exec"
	"unsafe"
)
