package controller

type Controller struct{}

func (c *Controller) Attach() {}
