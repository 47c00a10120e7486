package a

var update = flag.Bool("update", false, "")

var seen = map[string]bool{} // found
