package a

func TestX(t *testing.T) {
	t.Skip("this kernel has no SCTP sockets (CONFIG_IP_SCTP)") // found
}

func BenchmarkX(b *testing.B) {
	if testing.Short() {
		b.SkipNow() // found
	}
}

func needSCTP(t *testing.T) {
	if !tried() {
		t.Skip("this kernel has no SCTP sockets (CONFIG_IP_SCTP)")
	}
	if !tried() {
		t.Skipf("this kernel: %v", err)
	}
	t.Skip("no") // found
	t.SkipNow()  // found
	scanner.Skip(1)
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Skip("another example") })
}
