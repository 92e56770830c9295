#pragma once
enum Mode { MODE_KEEP, MODE_SCALE = 7 };
