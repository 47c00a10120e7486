package firewall

import "testing"

func TestSet(t *testing.T) {}
