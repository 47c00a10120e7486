package cnm
