//! What one can see and touch, through embedded-hal: light, display, button; and how the machine is doing.

pub mod display;
pub mod light;
pub mod line;
pub mod machine;
pub mod panel;
