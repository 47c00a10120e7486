package a // found
