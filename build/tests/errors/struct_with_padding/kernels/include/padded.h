#pragma once
struct Padded { char narrow; double wide; };
