package a

func TestX(t *testing.T) {
	time.Sleep(time.Second) // found
	wait := time.Sleep      // found
	<-time.After(1)
}
