module example.org/x

require example.org/y v1.0.0

replace example.org/y => ../y // found

exclude example.org/z v1.0.0 // found
