package kerneltest

func Run(t *testing.T) { t.Skip(reason) }
