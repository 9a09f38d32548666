"""Model backends: language-image models and visual encoders behind two protocols."""
