package a

func f() {
	for !done() {
		unix.Nanosleep(&ts, nil) // found
	}
}
