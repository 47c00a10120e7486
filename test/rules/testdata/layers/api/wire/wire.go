package wire

import "github.com/spf13/cobra" // found
